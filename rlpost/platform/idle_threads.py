"""Threads of libraries that look around by the clock, seldom enough that matrix products do not notice.

Every gloo process group has a thread that wakes a hundred times a second, and an engine has a dozen groups. A product
on all cores stands still on each of them while one is taken away.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager

SLACK_S = 0.1
"""How much later than asked such a thread may wake. What it is sent wakes it at once, as before."""
_SET_TIMER_SLACK, _GET_TIMER_SLACK = 29, 30


@contextmanager
def rarely_waking() -> Generator[None]:
    """Threads that are started in the with-block wait `SLACK_S` longer whenever they wait for a time to pass (Linux).

    By the timer slack of prctl(2), which a thread has from the one that started it.
    """
    before_ns = timer_slack_ns()
    if before_ns is None:
        yield
        return
    _prctl(_SET_TIMER_SLACK, int(SLACK_S * 1e9))
    try:
        yield
    finally:
        _prctl(_SET_TIMER_SLACK, before_ns)


def timer_slack_ns() -> int | None:
    """Of this thread; None where the system has no such thing, as some sandboxes of containers have not."""
    answer = _prctl(_GET_TIMER_SLACK, 0) if sys.platform == "linux" else -1
    return answer if answer > 0 else None


def _prctl(option: int, value: int) -> int:
    return ctypes.CDLL(None).prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))
