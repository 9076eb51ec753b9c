"""Names what limits the speed of a run, in a sentence with the figure and the setting to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_WARM_UP_STEPS = 2
_NOTICEABLE = 0.10
"""Smallest share of a step that is worth a change."""


class Shares(NamedTuple):
    """Shares of the learner's time; `engines_busy` is a share of the engines' own time."""

    generate: float
    score: float
    wait: float
    train: float
    sync: float
    other: float
    engines_busy: float


def shares_of(records: Sequence[Mapping[str, float]]) -> Shares:
    """Average over the steps, weighted by their duration; the first steps, which warm up, are left out."""
    steady = records[_WARM_UP_STEPS:] or records
    total_s = sum(record["time/step_s"] for record in steady)
    assert total_s > 0, "a step takes time"

    def share(name: str) -> float:
        return sum(record.get(f"time/{name}_s", 0.0) for record in steady) / total_s

    busy = sum(record.get("engines/busy_share", 0.0) * record["time/step_s"] for record in steady) / total_s
    return Shares(*(share(name) for name in ("generate", "score", "wait", "train", "sync", "other")), engines_busy=busy)


def bottleneck_sentence(records: Sequence[Mapping[str, float]], *, max_staleness: int) -> str:
    """Describe the bottleneck, given the records in one RL stage's metrics.jsonl."""
    shares = shares_of(records)
    for name, remedy in (
        (
            "score",
            "raise scoring.workers in the cluster file, or look at the verifier (rlpost's metrics: time/score_s)",
        ),
        ("sync", "look at time/sync_wall_s and sync_bytes, or train an adapter with lora.sync: adapter"),
        ("other", "transport and bookkeeping: larger batches a step make it smaller"),
    ):
        if getattr(shares, name) > max(shares.generate, shares.wait, shares.train):
            return f"{name} takes {getattr(shares, name):.0%} of a step; {remedy}"
    return _synchronous(shares) if max_staleness == 0 else _asynchronous(shares)


def _synchronous(shares: Shares) -> str:
    if shares.wait > max(shares.generate, shares.train):
        return (
            f"{shares.wait:.0%} of a step nobody generates, scores or trains: engines were away; the console tells when"
        )
    overlapped = max(shares.generate + shares.score, shares.train)
    gain = (shares.generate + shares.score + shares.train) / overlapped
    first = f"generating takes {shares.generate:.0%} of a step and training {shares.train:.0%}, one after the other"
    if gain < 1 + _NOTICEABLE:
        longer = "rollout.actors" if shares.generate > shares.train else "learner.ranks"
        return f"{first}; more {longer} in the cluster file would shorten the longer one"
    return f"{first}; side by side (max_staleness: 1 or more) a step could be up to {gain:.1f} times as fast"


def _asynchronous(shares: Shares) -> str:
    idle = 1 - shares.engines_busy
    if shares.wait > _NOTICEABLE and shares.wait > idle:
        return (
            f"training waits {shares.wait:.0%} of a step for rollouts, engines are busy {shares.engines_busy:.0%} of "
            "the time: add rollout actors (`rlpost scale`), or give them the learner's devices"
        )
    if shares.wait > _NOTICEABLE:
        return (
            f"training waits {shares.wait:.0%} of a step for its slowest responses and engines idle {idle:.0%}: raise "
            "max_staleness, so that others run on meanwhile"
        )
    if idle > _NOTICEABLE:
        return (
            f"engines idle {idle:.0%} of the time, because as many prompts are under way as max_staleness allows; "
            "training is the longer half: add learner ranks, or give them the engines' devices"
        )
    return f"well balanced: training waits {shares.wait:.0%} of a step, engines idle {idle:.0%}"
