"""Measures how fast a verifier judges a realistic mix: its own cases with other numbers, and some pathological ones.

Repeated cases would be answered from the caches of libraries. Numbers in them are therefore drawn anew, the same for a
response and its gold, and an answer that the verifier reads at the end gets a chain of thought in front. The measured
time includes the way to a worker process and back.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, Verifier
from rlpost.workbench.answers import place_of, placed
from rlpost.workbench.verifier_runner import VerifierRunner

BATCH = 256
LEAST_BATCH = 32
"""Smallest batch for verifiers that run programs; a larger one would outlast the measurement."""
WARM_UP = 32
ADVERSARIAL = 0.05
"""Share of adversarial cases; models rarely try to be rewarded without an answer until they find out how."""
PATHOLOGICAL_ANSWERS = ("9^{9^{9^{9}}}", "(10^8)!", "{" * 3000 + "1" + "}" * 3000)
THOUGHT = "First {} and {} make {}, then we carry the {} over, which leaves {}. "
_DIGITS = re.compile(r"\d+")

Mix = Iterator[tuple[Sample, Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """The speed that the project promises for a verifier, or for all verifiers whose name begins with this text."""

    name: str
    per_second: float


BARS = (
    Bar(name="math.equivalent", per_second=300),
    Bar(name="text.", per_second=20_000),
    Bar(name="code.unit_tests", per_second=60),
)
BATCH_SAMPLES = 2048
BATCH_WORKERS = 2
BATCH_BARS: Mapping[str, float] = {"math.equivalent": 8.0}
"""Most seconds that `BATCH_SAMPLES` samples, some of them pathological, may take on `BATCH_WORKERS` cores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The measured figures of one verifier."""

    name: str
    version: str
    samples: int
    seconds: float
    workers: int
    per_second: float
    """Verdicts per second and core."""
    p50_ms: float
    p99_ms: float
    """99th percentile of the time inside the verifier."""
    pathological: float
    """Share of pathological samples."""
    policy_faults: int
    infra_faults: int
    bar: float | None
    batch_seconds: float | None = None
    """Seconds for `BATCH_SAMPLES` samples on `BATCH_WORKERS` workers, if the verifier has a bar for it."""
    batch_bar: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bars are met; None if the verifier has none."""
        if self.bar is None and self.batch_bar is None:
            return None
        fast = self.bar is None or self.per_second >= self.bar
        batch = self.batch_bar is None or (self.batch_seconds is not None and self.batch_seconds <= self.batch_bar)
        return fast and batch


def measure(verifier: Verifier, *, seconds: float, workers: int, pathological: float, seed: int) -> Measured:
    """Judge for `seconds` after warming up; the verifier must be able to run here."""
    mix = realistic_mix(verifier, pathological=pathological, rng=random.Random(seed))
    size = LEAST_BATCH if verifier.spec.isolation in ("sandbox", "remote") else BATCH
    verdicts: list[Verdict] = []
    spent = 0.0
    with VerifierRunner(verifier, workers=workers) as judge:
        _judge(judge, _taken(mix, WARM_UP * workers))
        while spent < seconds:
            calls = _taken(mix, size * workers)  # samples are made outside the measured time
            started = time.perf_counter()
            verdicts += _judge(judge, calls)
            spent += time.perf_counter() - started
    cores = workers if verifier.spec.isolation in ("process", "sandbox") else 1
    batch_bar = BATCH_BARS.get(verifier.spec.name)
    return Measured(
        name=verifier.spec.name,
        version=verifier.spec.version,
        samples=len(verdicts),
        seconds=spent,
        workers=cores,
        per_second=len(verdicts) / spent / cores,
        p50_ms=float(np.percentile([verdict.milliseconds for verdict in verdicts], 50)),
        p99_ms=float(np.percentile([verdict.milliseconds for verdict in verdicts], 99)),
        pathological=pathological,
        policy_faults=sum(verdict.fault is Fault.POLICY for verdict in verdicts),
        infra_faults=sum(verdict.fault is Fault.INFRA for verdict in verdicts),
        bar=next((bar.per_second for bar in BARS if verifier.spec.name.startswith(bar.name)), None),
        batch_bar=batch_bar,
        batch_seconds=None if batch_bar is None else _batch_seconds(verifier, pathological=pathological, seed=seed),
    )


def realistic_mix(verifier: Verifier, *, pathological: float, rng: random.Random) -> Mix:
    """Yield samples without end: the cases in turn with other numbers, and a share of answers that never end."""
    honest = [case for case in verifier.cases if case.expect != "adversarial"] or list(verifier.cases)
    hostile = [case for case in verifier.cases if case.expect == "adversarial"]
    endless = _endless_cases(verifier)
    while True:
        for case in honest:
            yield _varied(verifier, case, rng), verifier.validated(case.params)
            for share, cases in ((ADVERSARIAL, hostile), (pathological, endless)):
                if cases and rng.random() < share:
                    chosen = rng.choice(cases)
                    yield chosen.sample(), verifier.validated(chosen.params)


def _endless_cases(verifier: Verifier) -> list[Case]:
    """Answers that never finish computing, with the golds of accepted cases that are not plain numbers, if there are
    any.
    """
    accepted = [case for case in verifier.cases if case.expect == "accept"]
    hard = [case for case in accepted if not _DIGITS.fullmatch(str(case.gold))] or accepted
    return [
        replace(case, response=placed(text, where=place_of(verifier, case.params) or "whole_text"))
        for case in hard
        for text in PATHOLOGICAL_ANSWERS
    ]


def _varied(verifier: Verifier, case: Case, rng: random.Random) -> Sample:
    numbers: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        length = min(len(match[0]), 9)
        return numbers.setdefault(match[0], str(rng.randrange(10 ** (length - 1), 10**length)))

    response = case.response
    if place_of(verifier, case.params) is not None and case.meta == {}:
        gold = _DIGITS.sub(other, case.gold) if isinstance(case.gold, str) else case.gold
        response = _DIGITS.sub(other, response) if isinstance(case.gold, str) else response
        if place_of(verifier, case.params) != "whole_text":
            thought = "".join(THOUGHT.format(*(rng.randrange(1000) for _ in range(5))) for _ in range(8))
            response = f"{thought}\n{response}"
    else:
        gold = case.gold
    return replace(case.sample(), response=response, gold=gold)


_Calls = Sequence[tuple[list[Sample], Mapping[str, Any]]]


def _taken(mix: Mix, count: int) -> _Calls:
    """Take the next samples, and group those with equal parameters, as a route's samples are grouped."""
    groups: dict[str, tuple[list[Sample], Mapping[str, Any]]] = {}
    for sample, params in islice(mix, count):
        groups.setdefault(repr(params), ([], params))[0].append(sample)
    return list(groups.values())


def _judge(judge: VerifierRunner, calls: _Calls) -> list[Verdict]:
    return [verdict for samples, params in calls for verdict in judge(samples, params=params)]


def _batch_seconds(verifier: Verifier, *, pathological: float, seed: int) -> float:
    mix = realistic_mix(verifier, pathological=pathological, rng=random.Random(seed + 1))
    with VerifierRunner(verifier, workers=BATCH_WORKERS) as judge:
        _judge(judge, _taken(mix, WARM_UP * BATCH_WORKERS))
        calls = _taken(mix, BATCH_SAMPLES)
        started = time.perf_counter()
        _judge(judge, calls)
        return time.perf_counter() - started
