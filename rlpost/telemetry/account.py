"""The account of the time in a step: each part is timed where it is done, and the rest is called `other`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

PARTS = ("generate", "score", "wait", "train", "sync")
"""`wait`: the time in which the learner was idle while rollouts were generated concurrently; in a synchronous step, the
time in which nothing generated or scored rollouts."""


class StepClock:
    """Measures a step and its named parts; the first step begins when the clock is created."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """Add the duration of a with-block to this part of the step."""
        started = time.perf_counter()
        yield
        self._parts[name] = self._parts.get(name, 0.0) + time.perf_counter() - started

    def timed(self, name: str, function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Wrap a function so that its time counts as this part of the step in which it is called."""

        @wraps(function)
        def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
            with self.part(name):
                return function(*arguments, **options)

        return call

    def lap(self) -> Lap:
        """End the step and begin the next one."""
        now = time.perf_counter()
        lap = Lap(wall_s=now - self._started, parts_s=self._parts)
        self._started, self._parts = now, {}
        return lap


class Lap(NamedTuple):
    """The times of one step."""

    wall_s: float
    parts_s: Mapping[str, float]


def step_account(wall_s: float, **parts_s: float) -> dict[str, float]:
    """Return the metrics `time/step_s`, `time/<part>_s`, `time/other_s` and `time/other_share`.

    `other` is the time outside all parts: transport, packing, bookkeeping.
    """
    assert set(parts_s) <= set(PARTS), f"parts are {PARTS}, found {sorted(parts_s)}"
    other_s = max(0.0, wall_s - sum(parts_s.values()))
    account = {"time/step_s": wall_s, **{f"time/{name}_s": seconds for name, seconds in parts_s.items()}}
    return account | {"time/other_s": other_s, "time/other_share": other_s / wall_s if wall_s else 0.0}


def stage_account(records: list[dict[str, float]]) -> Mapping[str, float]:
    """Return each part's share of the time of all steps, for example `{"generate": 0.41, "train": 0.5, "other": 0.03,
    ...}`.
    """
    total = sum(record.get("time/step_s", 0.0) for record in records)
    if not total:
        return {}
    return {
        name: sum(record.get(f"time/{name}_s", 0.0) for record in records) / total
        for name in (*PARTS, "other")
        if any(f"time/{name}_s" in record for record in records)
    }
