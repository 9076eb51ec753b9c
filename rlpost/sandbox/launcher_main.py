"""The launcher, a bare interpreter beside every process that runs untrusted programs: `main(<control fd>, <place>)`.

It has no threads and no secrets: its environment is empty, and no program or test ever passes through it. It moves into
the minimal root, gives up root if it has it, and then waits on the control socket. For `{"start": ..., "limits":
{...}}` with four descriptors (standard input, output, error, channel) it forks a guest and answers `{"pid": n}`. For
`{"end": n}` it kills that guest, waits for it, and answers how it ended. When the socket closes, or the launcher dies,
all guests are killed.
"""

from __future__ import annotations

import array
import gc
import json
import os
import random
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from rlpost.sandbox import guest, kernel, landlock, minimal_root, seccomp

# Imported before the forks, so that guests find these modules loaded. `threading` must be imported by the main thread;
# the others are used by programs for coding tasks and their tests.
PRELOADED = (
    "ast", "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "heapq", "io", "itertools", "json", "math", "numbers", "operator", "random", "re", "statistics",
    "string", "struct", "threading", "time", "traceback", "typing",
)  # fmt: skip
LONGEST_MESSAGE = 1 << 16
DESCRIPTORS = 4
LOWEST_SANDBOX_USER, SANDBOX_USERS = 61_184, 4_096
"""User numbers that systems reserve for dynamically created users (systemd's DynamicUser), so that no real user has
them."""


def main(control_descriptor: int, place: str) -> None:
    """Serve until the control socket closes."""
    control = socket.socket(fileno=control_descriptor)
    for name in PRELOADED:
        __import__(name)
    try:
        fence = raise_fence(place)
    except OSError as error:
        control.send(json.dumps({"refused": str(error)}).encode())
        return
    hidden = forget_itself()
    described = {"namespaces": fence.namespaces, "landlock": fence.landlock, "notes": fence.notes}
    control.send(json.dumps({"ready": described}).encode())
    running: set[int] = set()
    while True:
        order, descriptors = receive(control)
        if order is None:
            break
        if "start" in order:
            answer = start(order, descriptors, fence)
            if "pid" in answer:
                running.add(answer["pid"])
        else:
            answer = end(order["end"])
            running.discard(order["end"])
        control.send(json.dumps(answer).encode())
    for process_id in running:
        end(process_id)
    del hidden


def raise_fence(place: str) -> guest.Fence:
    """Confine this process as far as the machine allows.

    Raises:
        OSError: neither namespaces nor Landlock work here; the message says which parts are missing.
    """
    if not kernel.is_known_machine():
        raise OSError("the sandbox knows the system calls of x86_64 and aarch64 only")
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    libraries = tuple(minimal_root.library_paths())  # looked up while its own files can still be read
    notes: dict[str, str] = {}
    namespaces = True
    try:
        minimal_root.enter_minimal_root(place, proc=proc)
        give_up_root()
        probe_namespaces(proc)
    except OSError as error:
        namespaces = False
        notes["namespaces"] = str(error)
        give_up_root()
        unreadable = [path for path in libraries if not os.access(path, os.R_OK | os.X_OK)]
        if unreadable:
            notes["Python"] = f"the sandbox's user cannot read {', '.join(unreadable)}: install it where everybody can"
    version = landlock.landlock_version()
    if version == 0:
        notes["landlock"] = "the kernel has no Landlock (5.13 and later have, unless it is left out at boot)"
    if not namespaces and (version == 0 or "Python" in notes):
        raise OSError("; ".join(f"no {layer}: {why}" for layer, why in notes.items()))
    return guest.Fence(
        namespaces=namespaces,
        landlock=version,
        proc=proc,
        interpreter_bytes=size,
        libraries=libraries,
        # With a process namespace, every guest is process 1 of its own namespace.
        seccomp=seccomp.filter_program(1) if namespaces else b"",
        notes=notes,
    )


def forget_itself() -> list[Any]:
    """Make the interpreter look as a program expects it, once for all guests; returns objects that must be kept alive.

    The modules themselves are kept, so that no guest spends time on their teardown.
    """
    hidden = [sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "rlpost"]
    sys.path[:] = [path for path in sys.path if path.startswith(sys.base_prefix)]
    sys.argv[:] = ["program.py"]
    random.seed(0)  # equal programs behave equally
    gc.collect()
    gc.freeze()
    return hidden


def give_up_root() -> None:
    """If this process is root, become a user that owns nothing; otherwise change nothing."""
    if os.getuid() == 0 and os.geteuid() == 0:
        user = LOWEST_SANDBOX_USER + os.getpid() % SANDBOX_USERS
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        except OSError:
            return  # root of a user namespace in which no other user exists: it has no more power than an ordinary one
    kernel.process_control(kernel.PR_SET_DUMPABLE, 1)  # changing the user removes access to one's own /proc/self


def probe_namespaces(proc: int) -> None:
    """Fork one child into all namespaces and let it mount; some machines allow namespaces but not the mount.

    Raises:
        OSError: it could not fork or mount.
    """
    user, group = os.geteuid(), os.getegid()  # before the fork: a new user namespace knows neither
    process_id = kernel.fork_into(kernel.GUEST_NAMESPACES)
    if process_id == 0:
        try:
            guest.enter_namespaces(proc, user=user, group=group, scratch_mib=1, scratch_files=16)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    _, status = os.waitpid(process_id, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise OSError(code, f"a new user namespace cannot mount: {os.strerror(max(code, 0))}")


def start(order: dict[str, Any], descriptors: list[int], fence: guest.Fence) -> dict[str, Any]:
    """Fork a guest, and return the answer for the host."""
    user, group = os.geteuid(), os.getegid()  # before the fork, as above
    try:
        process_id = kernel.fork_into(kernel.GUEST_NAMESPACES if fence.namespaces else 0)
    except OSError as error:
        return {"error": str(error)}
    if process_id == 0:
        guest.become_guest(order, descriptors, fence, user=user, group=group)  # never returns
    for descriptor in descriptors:
        os.close(descriptor)
    return {"pid": process_id}


def end(process_id: int) -> dict[str, Any]:
    """Kill a guest and everything in its namespace, wait until it is gone, and return how it ended."""
    os.kill(process_id, signal.SIGKILL)  # it has not been reaped, so the process id still belongs to it
    _, status, used = os.wait4(process_id, 0)
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
    }


def receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Receive one order and its descriptors; None if the other side has closed."""
    descriptors = array.array("i")
    try:
        text, ancillary, _, _ = control.recvmsg(
            LONGEST_MESSAGE, socket.CMSG_SPACE(DESCRIPTORS * descriptors.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        return None, []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data)
    return (json.loads(text) if text else None), list(descriptors)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
