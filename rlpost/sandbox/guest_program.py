"""A guest that runs a whole program as `python program.py` does, from its text to its exit status."""

from __future__ import annotations

import sys
from types import ModuleType


def run_whole_program(program: str) -> int:
    """Run a program as `__main__`, wait for its threads, and return its exit status."""
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    code = 0
    try:
        exec(compile(program, "program.py", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as request:
        code = exit_status(request.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType] - inside `except` none of the three is None
        code = 1
    _finish()
    return code


def exit_status(code: object) -> int:
    """The exit status that the interpreter gives for `sys.exit(code)`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _finish() -> None:
    """Do the work that an interpreter does at its end and that `os._exit` skips."""
    import atexit
    import threading

    try:
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue] - waits for threads, as at a normal exit
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - there is no public way to run them
    except BaseException:
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType] - as above
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue  # closed by the program, or the host no longer reads
