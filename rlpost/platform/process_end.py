"""Ends a process whose threads must not be interrupted, without the interpreter's own shutdown.

A gloo thread that releases a collective's tensor acquires the interpreter's lock. If the interpreter shuts down first,
the thread is interrupted inside a C++ destructor and the process aborts, whatever its exit code would have been.
Leaving the process group does not end these threads while anything refers to the group, and after training something
does.
"""

from __future__ import annotations

import logging
import os
import sys
from threading import Event

_ASKED_FOR = Event()


def ask_for_abrupt_end() -> None:
    """From now on, let `end_if_asked` end this process."""
    _ASKED_FOR.set()


def end_if_asked(exit_code: int) -> None:
    """End the process here, with all output flushed, if `ask_for_abrupt_end` was called; otherwise return."""
    if not _ASKED_FOR.is_set():
        return
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
