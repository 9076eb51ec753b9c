"""Makes the idle threads of libraries wake up so rarely that they do not slow matrix products down.

Every gloo process group has a thread that wakes up a hundred times a second, and an engine has a dozen groups. While
such a thread occupies a core, a matrix product that runs on all cores has to wait for it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager

SLACK_S = 0.1
"""Longest extra delay before such a thread wakes up on its timer. Incoming data still wakes it at once."""
_SET_TIMER_SLACK, _GET_TIMER_SLACK = 29, 30


@contextmanager
def rarely_waking() -> Generator[None]:
    """Delay the timers of threads that are started in the with-block by up to `SLACK_S` (Linux).

    This sets the timer slack of prctl(2), which a thread inherits from the thread that starts it.
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
    """Return the timer slack of this thread; None if the system has none, as in some container sandboxes."""
    answer = _prctl(_GET_TIMER_SLACK, 0) if sys.platform == "linux" else -1
    return answer if answer > 0 else None


def _prctl(option: int, value: int) -> int:
    return ctypes.CDLL(None).prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))
