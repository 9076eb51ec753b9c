"""The first instructions of a guest: it fences itself in, and only then hears which program it is to run."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from typing import IO, Any, NamedTuple, NoReturn, cast

from rlpost.sandbox import kernel, landlock, seccomp
from rlpost.sandbox.guest_program import run_whole_program
from rlpost.sandbox.guest_server import serve_program
from rlpost.sandbox.guest_tests import run_tests
from rlpost.sandbox.limits import Limits, apply_limits
from rlpost.sandbox.minimal_root import DEVICES, SCRATCH, mount_scratch

USER_INSIDE = 1000
CHANNEL = 3
"""Descriptor of the socket to the host; a whole program does not keep it."""
ROLES = {"server": serve_program, "tests": run_tests}
"""What a guest that keeps its channel can be: each takes the job, reader and writer, and returns an exit status."""
NOT_CONTAINED = 97
"""Exit status of a guest that could not raise its fences; it has run nothing."""


class Fence(NamedTuple):
    """What the launcher has and every guest gets."""

    namespaces: bool
    landlock: int
    """Version of Landlock; 0 without."""
    proc: int
    """An open `/proc`, by which a guest maps its user."""
    interpreter_bytes: int
    """Address space of the launcher."""
    libraries: tuple[str, ...]
    """Folders that a guest without a root of its own may read."""
    seccomp: bytes
    """The filter of system calls; empty where each guest needs its own."""
    notes: dict[str, str]
    """For a person: why a layer is missing."""


def become_guest(order: dict[str, Any], descriptors: list[int], fence: Fence, *, user: int, group: int) -> NoReturn:
    """Be the guest that the order asks for, then end."""
    code = NOT_CONTAINED
    try:
        channel = _contain(Limits(**order["limits"]), descriptors, fence, user=user, group=group)
        code = 1
        reader, writer = channel.makefile("rb"), cast("IO[bytes]", channel.makefile("wb", buffering=0))
        writer.write(b'{"contained": true}\n')
        job = json.loads(reader.readline() or b"null")
        if job is not None:
            code = _play(order["start"], job, reader, writer, channel)
    except BaseException as error:
        # Says why to the host, if the channel is there; nothing has run when the fences are not up.
        text = json.dumps({"not_contained": f"{type(error).__name__}: {error}"})
        os.write(CHANNEL if code != NOT_CONTAINED else descriptors[3], text.encode() + b"\n")
    finally:
        os._exit(code)


def enter_namespaces(proc: int, *, user: int, group: int, scratch_mib: int, scratch_files: int) -> None:
    """As the first process of new namespaces: be an ordinary user in them, with a scratch folder.

    Raises:
        OSError: the kernel refused.
    """
    kernel.map_own_user(proc, inside=USER_INSIDE, user=user, group=group)
    mount_scratch(size_mib=scratch_mib, files=scratch_files)


def _contain(limits: Limits, descriptors: list[int], fence: Fence, *, user: int, group: int) -> socket.socket:
    """Raise all fences, in an order in which each is still allowed by those before.

    Raises:
        OSError: one of them does not stand.
    """
    if fence.namespaces:
        enter_namespaces(
            fence.proc, user=user, group=group, scratch_mib=limits.scratch_mib, scratch_files=limits.scratch_files
        )
    kernel.process_control(kernel.PR_SET_PDEATHSIG, 9)
    kernel.process_control(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if fence.landlock:
        readable = ["/"] if fence.namespaces else fence.libraries
        writable = [SCRATCH] if fence.namespaces else []
        landlock.confine(readable=readable, writable=writable, devices=DEVICES)
    kernel.drop_capabilities()
    for place, descriptor in enumerate(_above(descriptors, CHANNEL)):
        os.dup2(descriptor, place, inheritable=False)
    os.closerange(CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))
    apply_limits(limits, own_user=fence.namespaces, interpreter_bytes=fence.interpreter_bytes)
    seccomp.install(fence.seccomp or seccomp.filter_program(os.getpid()))
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=CHANNEL)


def _above(descriptors: list[int], highest: int) -> list[int]:
    """The same open files under numbers that none of the targets has."""
    return [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, highest + 1) for descriptor in descriptors]


def _play(role: str, job: dict[str, Any], reader: IO[bytes], writer: IO[bytes], channel: socket.socket) -> int:
    if role != "program":
        return ROLES[role](job, reader, writer)
    reader.close()
    writer.close()
    channel.close()
    # The launcher's own streams have looked at what its descriptors were then; these live as long as the process.
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - open until the process ends
    return run_whole_program(job["program"])
