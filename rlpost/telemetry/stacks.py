"""Stacks of the threads of a process: of this process directly, of another one on this machine through py-spy.

They show only functions, files and lines: no values of variables, and no arguments or environment of a process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

PY_SPY_TIMEOUT_S = 10.0
_ATTEMPTS = 2
"""Number of attempts: the process keeps running while it is sampled, which may spoil a sample."""
_REMEDY = "looking needs root, CAP_SYS_PTRACE, or kernel.yama.ptrace_scope 0"
_LONGEST_REASON = 300
_NAMELESS = "without a name"
_NONE = "  no Python thread"


def own_stacks() -> str:
    """Return the stacks of all threads of this process, innermost call first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        _thread(
            names.get(ident, _NAMELESS),
            [(call.name, call.filename, call.lineno or 0) for call in reversed(traceback.extract_stack(frame))],
        )
        for ident, frame in sys._current_frames().items()  # pyright: ignore[reportPrivateUsage] - the only way
    )


def stacks_of(pid: int) -> str:
    """Return the stacks of all Python threads of a process on this machine, or the reason why they are unavailable.

    The process is not paused for this; a stopped process stays stopped.
    """
    py_spy = _py_spy()
    if py_spy is None:
        return "  py-spy is not installed (it comes with ray[default]), so there are no stacks"
    reason = ""
    for _ in range(_ATTEMPTS):
        try:
            ran = subprocess.run(
                [py_spy, "dump", "--nonblocking", "--json", "--pid", str(pid)],
                capture_output=True,
                text=True,
                timeout=PY_SPY_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"  py-spy gave no answer within {PY_SPY_TIMEOUT_S:g} s"
        if ran.returncode == 0:
            return (
                "\n".join(_thread(one["thread_name"] or _NAMELESS, _calls(one)) for one in json.loads(ran.stdout))
                or _NONE
            )
        reason = " ".join(ran.stderr.split("Stack backtrace")[0].split())[:_LONGEST_REASON]
    return f"  py-spy could not look ({_REMEDY}): {reason}"


def _py_spy() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.is_file() else shutil.which("py-spy")


def _calls(thread: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(call["name"], call["filename"], call["line"]) for call in thread["frames"]]


def _thread(name: str, calls: list[tuple[str, str, int]]) -> str:
    return "\n".join([f"  thread {name}", *(f"    {function} ({file}:{line})" for function, file, line in calls)])
