"""The end of a process whose threads must not be cut off: it leaves out what the interpreter does at its end.

A gloo thread that lets go of a collective's tensor takes the interpreter's lock for it. If the interpreter ends before,
the thread is cut off inside a C++ destructor, and the process aborts, whatever its exit code was to be. Leaving the
process group does not end these threads as long as anything refers to the group, and after training something does.
"""

from __future__ import annotations

import logging
import os
import sys
from threading import Event

_ASKED_FOR = Event()


def ask_for_abrupt_end() -> None:
    """`end_if_asked` does something in this process from now on."""
    _ASKED_FOR.set()


def end_if_asked(exit_code: int) -> None:
    """End the process here with everything written out; returns where nobody has asked for it."""
    if not _ASKED_FOR.is_set():
        return
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
