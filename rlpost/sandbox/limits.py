"""Resource limits of a guest: the kernel enforces all of them, and the host also enforces wall-clock time and
output.
"""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Hard limits of one guest, which is a single process."""

    cpu_s: float
    """Processor time of all threads; the kernel kills at the next whole second, and the host compares the exact
    figure."""
    wall_s: float
    """Wall-clock time from start to end. It exceeds `cpu_s`, so that a busy machine does not fail an honest program."""
    memory_mib: int
    """Address space beyond that of the bare interpreter."""
    threads: int
    """Threads of the guest; enforced only if it has a user namespace of its own."""
    open_files: int
    scratch_mib: int
    """Total size of the files in the scratch folder, which is in memory; also the largest size of one file."""
    scratch_files: int
    output_bytes: int
    """Limit on standard output plus standard error, or on all messages of an examined program; one byte more kills."""


STANDARD = Limits(
    cpu_s=4.0,
    wall_s=10.0,
    memory_mib=512,
    threads=16,
    open_files=64,
    scratch_mib=16,
    scratch_files=256,
    output_bytes=4 * 2**20,
)
"""Limits for the tasks that code models are trained on; change fields with `dataclasses.replace`."""
STACK_MIB = 120
"""Stack size of the main thread: the kernel reserves 128 MiB of addresses for it, whatever the limit is."""


def apply_limits(limits: Limits, *, own_user: bool, interpreter_bytes: int) -> None:
    """Apply the limits to this process, both soft and hard, since the process could raise a soft limit again."""
    mib = 2**20
    wanted = {
        resource.RLIMIT_CPU: math.ceil(limits.cpu_s),
        resource.RLIMIT_AS: limits.memory_mib * mib + interpreter_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.scratch_mib * mib,
        resource.RLIMIT_STACK: STACK_MIB * mib,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_RTPRIO: 0,
    }
    if own_user:  # otherwise all processes of the same user would count, whoever started them
        wanted[resource.RLIMIT_NPROC] = limits.threads
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))
