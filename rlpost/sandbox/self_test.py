"""Tests whether this machine contains a hostile program, by a handful of attacks before the first real program runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from rlpost.errors import SandboxError
from rlpost.sandbox.host import launcher
from rlpost.sandbox.limits import STANDARD
from rlpost.sandbox.programs import Ran, run_program

LIMITS = replace(STANDARD, cpu_s=2.0, wall_s=4.0, memory_mib=128, scratch_mib=4, output_bytes=1 << 20)
SECRET = "RLPOST_SANDBOX_SELF_TEST"
"""This variable is set in this process's environment during the test; a guest must not see it."""


class Attack(NamedTuple):
    """A hostile program, and a check of its outcome."""

    program: str
    is_contained: Callable[[Ran], bool]
    wall_s: float = LIMITS.wall_s


def _says(word: bytes) -> Callable[[Ran], bool]:
    return lambda ran: ran.stdout.strip() == word and not ran.stopped


def _was_cut(ran: Ran) -> bool:
    return ran.stopped == "output" and len(ran.stdout) <= LIMITS.output_bytes


def _was_stopped(ran: Ran) -> bool:
    return ran.stopped == "time"


def _refused(action: str) -> str:
    """Return a program that prints `refused` if the action raises OSError, and otherwise the action's result."""
    return (
        f"import os, signal\ntry:\n    print('got', {action})\nexcept (OSError, ImportError):\n    print('refused')\n"
    )


ATTACKS: Mapping[str, Attack] = {
    "start processes without end": Attack(
        program=_refused("[os.fork() for _ in range(10_000)][:3]"), is_contained=_says(b"refused")
    ),
    "allocate 2 GiB": Attack(
        program="try:\n    x = bytearray(2**31); print(len(x))\nexcept MemoryError:\n    print('refused')",
        is_contained=_says(b"refused"),
    ),
    "write 1 GiB": Attack(
        program=(
            "block = b'x' * 2**20\ntry:\n    with open('big', 'wb') as file:\n"
            "        for _ in range(1024): file.write(block)\n    print('wrote')\nexcept OSError:\n    print('refused')"
        ),
        is_contained=_says(b"refused"),
    ),
    "connect to 8.8.8.8": Attack(
        program=_refused("__import__('socket').create_connection(('8.8.8.8', 53), timeout=1)"),
        is_contained=_says(b"refused"),
    ),
    "read /etc/shadow": Attack(program=_refused("open('/etc/shadow').read()"), is_contained=_says(b"refused")),
    "read the host's environment": Attack(
        program=(
            f"import os\nseen = '{SECRET}' in os.environ\nfor pid in ('self', '1', os.getppid()):\n    try:\n"
            f"        seen = seen or b'{SECRET}' in open(f'/proc/{{pid}}/environ', 'rb').read()\n"
            "    except OSError: pass\nprint('seen' if seen else 'refused')"
        ),
        is_contained=_says(b"refused"),
    ),
    "kill every process": Attack(program=_refused("os.kill(-1, signal.SIGKILL)"), is_contained=_says(b"refused")),
    "print 200 MB": Attack(
        program="import sys\nfor _ in range(200): sys.stdout.write('x' * 10**6)",
        is_contained=_was_cut,
    ),
    "sleep": Attack(program="import time; time.sleep(60)", is_contained=_was_stopped, wall_s=0.3),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Containment:
    """The protections of this machine against model-written programs."""

    holds: bool
    layers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Layers that this machine lacks, each with the reason."""
    checks: Mapping[str, str]
    """Attack -> `contained`, or a description of what happened."""
    refusal: str = ""
    """The reason why no program may run here; empty if all attacks were contained."""
    seconds: float


@cache
def containment() -> Containment:
    """Start the sandbox and attack it, which takes about half a second; done once per process."""
    started = time.perf_counter()
    try:
        fence = launcher().fence
        os.environ[SECRET] = "1"
        checks = {name: _outcome(attack) for name, attack in ATTACKS.items()}
    except SandboxError as error:
        return Containment(holds=False, checks={}, refusal=str(error), seconds=time.perf_counter() - started)
    finally:
        os.environ.pop(SECRET, None)
    failed = [f"{name}: {outcome}" for name, outcome in checks.items() if outcome != "contained"]
    refusal = f"model-written programs are not contained here; {'; '.join(failed)}" if failed else ""
    layers = ["seccomp filter", "hard resource limits", "no privileges"]
    if fence["landlock"]:
        layers.insert(0, f"Landlock {fence['landlock']}")
    if fence["namespaces"]:
        layers[:0] = ["namespaces (user, process, mount, network, IPC)", "minimal read-only root"]
    return Containment(
        holds=not failed,
        layers=tuple(layers),
        missing=tuple(f"{layer}: {why}" for layer, why in fence["notes"].items()),
        checks=checks,
        refusal=refusal,
        seconds=time.perf_counter() - started,
    )


def require_containment() -> None:
    """Check that programs may run here.

    Raises:
        SandboxError: they may not.
    """
    found = containment()
    if not found.holds:
        raise SandboxError(found.refusal)


def _outcome(attack: Attack) -> str:
    ran = run_program(attack.program, stdin="", limits=replace(LIMITS, wall_s=attack.wall_s))
    if attack.is_contained(ran):
        return "contained"
    return f"not contained (stopped={ran.stopped!r}, output {ran.stdout[:100]!r}, error {ran.stderr[-200:]!r})"
