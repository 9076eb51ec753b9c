"""The number of responses that an engine should work on at once, learnt from its KV cache instead of set by hand."""

from __future__ import annotations

from dataclasses import dataclass

CACHE_MARK = 0.95
"""Share of the KV cache that the limit aims at; the rest absorbs the variation of response lengths."""
FAST_GROWTH = 1.5
"""Growth factor per turnover until the first preemption."""
SLOW_GROWTH = 1.05
"""Growth factor per turnover after that."""
SHRINK = 0.95
"""Shrink factor on preemption."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepObservation:
    """The observations of one step of an engine."""

    running: int
    finished: int
    """Number of responses that ended in this step."""
    preempted: int
    """Number of responses whose preemption, for lack of KV cache, was reported in this step."""
    kv_cache_use: float
    """Share of the KV cache in use, 0 to 1."""


class ConcurrencyLimit:
    """A limit that grows step by step while the cache has room, and shrinks by a factor when a response is preempted.

    This is the rule of TCP (additive increase, multiplicative decrease; Chiu and Jain 1989), with a fast start. The
    unit of time is the turnover, in which as many responses end as the limit allows: only then is the cache as full as
    this limit makes it, because young responses are short. The limit never grows beyond the number of responses that is
    predicted to fill `CACHE_MARK` of the cache; the prediction takes cache use as proportional to that number.
    """

    def __init__(self, *, floor: int, ceiling: int) -> None:
        """Start at `floor`, the number of longest sequences that the cache can hold; never exceed `ceiling`."""
        assert 1 <= floor <= ceiling, f"a limit needs 1 <= floor <= ceiling, found {floor} and {ceiling}"
        self._floor = floor
        self._ceiling = ceiling
        self._limit = floor
        self._group = 1
        self._growth = FAST_GROWTH
        self._settling = 0
        """Number of responses that must end before a new limit is judged: those above it, and half of those that caused
        it."""
        self._start_turnover()

    @property
    def limit(self) -> int:
        """The number of responses to work on at once."""
        return self._limit

    def admit_group(self, size: int) -> None:
        """Make room for the samples of one prompt, when a group is larger than all earlier ones."""
        if size > self._group:
            self._group = size
            self._limit = min(self._ceiling, max(self._limit, size))

    def observe(self, step: StepObservation) -> None:
        """Adapt the limit to one step of the engine."""
        if self._settling > 0:
            self._settling -= step.finished
            if self._settling <= 0:
                self._start_turnover()
            return
        if step.preempted:
            self._shrink(step.running)
            return
        self._finished += step.finished
        self._peak_running = max(self._peak_running, step.running)
        self._peak_use = max(self._peak_use, step.kv_cache_use)
        if self._finished >= self._limit:
            if self._peak_running >= self._limit and self._peak_use < CACHE_MARK:
                self._grow()
            self._start_turnover()

    def _grow(self) -> None:
        predicted = int(self._limit * CACHE_MARK / self._peak_use) if self._peak_use > 0 else self._ceiling
        wanted = max(self._limit + 1, int(self._limit * self._growth))
        self._limit = max(self._limit, min(wanted, predicted, self._ceiling))

    def _shrink(self, running: int) -> None:
        """Shrink the limit: the responses at work show what a full cache holds, which may be far less than the
        limit.
        """
        shrunk = max(self._floor, int(min(self._limit, running) * SHRINK))
        self._settling = self._limit - shrunk + max(1, shrunk // 2)
        self._limit = shrunk
        self._growth = SLOW_GROWTH

    def _start_turnover(self) -> None:
        self._finished = 0
        self._peak_running = 0
        self._peak_use = 0.0
