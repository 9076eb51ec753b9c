"""A deadline for Python code of others that runs in this thread and may loop, such as a chat template."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

_LOOK_EVERY_S = 0.5


class DeadlineError(BaseException):
    """The code under a deadline took too long; no `Exception`, so that the code itself does not catch it."""


class _Deadlines:
    """The open deadlines of this process, and one thread that looks at them while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}
        """Thread -> time at which its deadline is over."""
        self._is_watched = False

    def begin(self, seconds: float) -> None:
        with self._lock:
            self._ends[threading.get_ident()] = time.monotonic() + seconds
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    def end(self) -> None:
        with self._lock:
            self._ends.pop(threading.get_ident(), None)
            # An interrupt that was requested and has not arrived yet must not arrive later.
            _interrupt(threading.get_ident(), None)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            with self._lock:
                if not self._ends:
                    self._is_watched = False
                    return
                for thread in [thread for thread, end in self._ends.items() if end <= time.monotonic()]:
                    del self._ends[thread]
                    _interrupt(thread, DeadlineError)


_DEADLINES = _Deadlines()


@contextmanager
def deadline(seconds: float) -> Generator[None]:
    """Raise `DeadlineError` in this thread between two of its Python instructions, soon after the time is over.

    It cannot interrupt a single call into a library. Deadlines of one thread cannot be nested.
    """
    _DEADLINES.begin(seconds)
    try:
        yield
    finally:
        _DEADLINES.end()


def _interrupt(thread: int, error: type[BaseException] | None) -> None:
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
