"""The first instructions of a guest: it confines itself, and only then receives the program that it is to run."""

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
"""Descriptor of the socket to the host; a guest that runs a whole program does not keep it."""
ROLES = {"server": serve_program, "tests": run_tests}
"""The roles of a guest that keeps its channel: each takes the job, a reader and a writer, and returns an exit
status."""
NOT_CONTAINED = 97
"""Exit status of a guest that could not confine itself; it has run nothing."""


class Fence(NamedTuple):
    """The protections that the launcher has set up and that every guest uses."""

    namespaces: bool
    landlock: int
    """Landlock version; 0 if the kernel has none."""
    proc: int
    """An open `/proc`, through which a guest maps its user."""
    interpreter_bytes: int
    """Address space of the launcher."""
    libraries: tuple[str, ...]
    """Folders that a guest without its own root file system may read."""
    seccomp: bytes
    """The seccomp filter; empty if each guest needs a filter of its own."""
    notes: dict[str, str]
    """For a person: the reason why each missing layer is missing."""


def become_guest(order: dict[str, Any], descriptors: list[int], fence: Fence, *, user: int, group: int) -> NoReturn:
    """Turn this process into the guest that the order describes; never returns."""
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
        # Tell the host why, if the channel is still open; nothing has run before the guest is confined.
        text = json.dumps({"not_contained": f"{type(error).__name__}: {error}"})
        os.write(CHANNEL if code != NOT_CONTAINED else descriptors[3], text.encode() + b"\n")
    finally:
        os._exit(code)


def enter_namespaces(proc: int, *, user: int, group: int, scratch_mib: int, scratch_files: int) -> None:
    """Become an ordinary user with a scratch folder, as the first process of new namespaces.

    Raises:
        OSError: the kernel refused.
    """
    kernel.map_own_user(proc, inside=USER_INSIDE, user=user, group=group)
    mount_scratch(size_mib=scratch_mib, files=scratch_files)


def _contain(limits: Limits, descriptors: list[int], fence: Fence, *, user: int, group: int) -> socket.socket:
    """Set up all protections, in an order in which each is still allowed by the earlier ones.

    Raises:
        OSError: a protection could not be set up.
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
    """Duplicate the open files to numbers that none of the target numbers uses."""
    return [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, highest + 1) for descriptor in descriptors]


def _play(role: str, job: dict[str, Any], reader: IO[bytes], writer: IO[bytes], channel: socket.socket) -> int:
    if role != "program":
        return ROLES[role](job, reader, writer)
    reader.close()
    writer.close()
    channel.close()
    # The launcher's own streams were made for other descriptors; these stay open as long as the process runs.
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - open until the process ends
    return run_whole_program(job["program"])
