"""One call of the Lean compiler: no shell, its own process group, and killed with all its children at its deadline.

Words that act at compile time are rejected before, see `lean_text`. For containment as well, name a wrapper as the
executable that starts Lean in a sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MOST_OUTPUT = 2**20
_LARGEST_FILE = 2**30
_PASSED_ON = ("PATH", "HOME", "ELAN_HOME", "LEAN_SYSROOT")
"""Environment variables that Lean gets; all others may hold secrets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """The outcome of one call of the compiler."""

    exit_code: int | None
    """The exit code; None if it was killed, at the deadline or because of its output."""
    output: str
    reason: str = ""
    """The reason why it was killed."""


class ToolchainError(Exception):
    """The compiler could not be started, or was killed from outside.

    Args:
        message: The problem, and how to fix it.
        is_missing: Whether another attempt cannot help.
    """

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


async def compile_lean(
    source: Path, *, lean: str, search_path: Sequence[str | Path], seconds: float, memory_mib: int
) -> Compiled:
    """Compile one module; its `.olean` file is written beside it.

    Args:
        source: The module's file.
        lean: The executable, as a path or as a name that is found on PATH.
        search_path: Folders with the `.olean` files of imported modules.
        seconds: Wall-clock limit.
        memory_mib: Memory limit of Lean.

    Raises:
        ToolchainError: the executable cannot be started, or was killed from outside.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["LEAN_PATH"] = os.pathsep.join(map(str, search_path))
    arguments = [lean, f"--memory={memory_mib}", "-o", source.with_suffix(".olean"), source]
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=source.parent,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        message = f"cannot start `{lean}`: {error}; install Lean 4, or set `lean` to its path"
        raise ToolchainError(message, is_missing=True) from error
    output, reason = bytearray(), ""
    try:
        _limit(process.pid, seconds=seconds)
        async with asyncio.timeout(seconds):
            assert process.stdout is not None
            while len(output) <= _MOST_OUTPUT and (chunk := await process.stdout.read(1 << 16)):
                output += chunk
            if len(output) > _MOST_OUTPUT:
                reason = f"wrote more than {_MOST_OUTPUT} bytes"
            else:
                await process.wait()
    except TimeoutError:
        reason = f"took more than {seconds:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):  # the whole group may have ended already
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    text = output[:_MOST_OUTPUT].decode(errors="replace")
    if reason:
        return Compiled(exit_code=None, output=text, reason=reason)
    if process.returncode in (-signal.SIGKILL, -signal.SIGTERM):
        raise ToolchainError(f"`{lean}` was killed from outside (exit code {process.returncode})")
    return Compiled(exit_code=process.returncode, output=text)


def _limit(pid: int, *, seconds: float) -> None:
    """Set kernel limits as a second protection, in case this process ends before it can kill the compiler."""
    limits = {
        resource.RLIMIT_CPU: 4 * math.ceil(seconds) + 1,
        resource.RLIMIT_FSIZE: _LARGEST_FILE,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(ProcessLookupError):  # it may have ended already
        for kind, limit in limits.items():
            resource.prlimit(pid, kind, (limit, limit))
