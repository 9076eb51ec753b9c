"""System calls that Python 3.11 has no function for. Sources: the calls' man pages, linux/sched.h, linux/prctl.h.

Only the launcher and the guests that it forks use this module, always with a single thread.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from typing import Any

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
LAUNCHER_NAMESPACES = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
"""Namespaces of the launcher. Its guests share the network namespace, which has no devices: a new one per guest would
double the cost of a guest, and guests cannot open sockets."""
GUEST_NAMESPACES = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC
"""Namespaces that each guest gets anew."""
CLONE_THREAD = 0x10000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
ATTR_READ_ONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522

_CALLS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126, "seccomp": 317},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91, "seccomp": 277},
}
# Calls since Linux 5.1 have one number on every architecture.
_SHARED_CALLS = {
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
_libc = ctypes.CDLL(None, use_errno=True)
# PyDLL keeps the interpreter's lock during the call, so that the child of `clone` starts with the lock held.
_libc_locked = ctypes.PyDLL(None, use_errno=True)


def is_known_machine() -> bool:
    """Whether the system call numbers of this processor are known."""
    return platform.machine() in _CALLS


def system_call(name: str, *arguments: Any) -> int:
    """Make a system call and return its result.

    Raises:
        OSError: the kernel refused.
    """
    return _checked(_libc.syscall(_number(name), *map(_argument, arguments)), name)


def fork_into(namespaces: int) -> int:
    """Fork a child that is the first process of new namespaces. Return its process id; in the child, return 0.

    The interpreter is not notified of this fork. With a single thread there is nothing to repair in the child, and the
    repairs would touch 200 more pages, which costs as much as the fork itself.

    Raises:
        OSError: the kernel refused.
    """
    flags = _argument(namespaces | signal.SIGCHLD)
    return _checked(_libc_locked.syscall(_number("clone"), flags, *[_argument(0)] * 4), "clone")


def unshare(namespaces: int) -> None:
    """Move this process into new namespaces.

    Raises:
        OSError: the kernel refused.
    """
    _checked(_libc.unshare(namespaces), "unshare")


def map_own_user(proc: int, *, inside: int, user: int, group: int) -> None:
    """In a new user namespace, map the outer user and group to the number `inside`; `proc` is an open `/proc`.

    Raises:
        OSError: the kernel refused.
    """
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {user} 1"),
        ("gid_map", f"{inside} {group} 1"),
    ):
        descriptor = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def mount(source: str | None, target: str, *, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mount a file system, or a part of one; see the man page of mount.

    Raises:
        OSError: the kernel refused.
    """
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _checked(_libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def unmount(target: str, flags: int) -> None:
    """Unmount a file system; see the man page of umount2.

    Raises:
        OSError: the kernel refused.
    """
    _checked(_libc.umount2(target.encode(), flags), f"umount {target}")


def add_mount_attributes(target: str, attributes: int, *, recursive: bool) -> None:
    """Set mount attributes by mount_setattr(2), and keep those that are already set.

    Raises:
        OSError: the kernel refused.
    """
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    system_call("mount_setattr", _AT_FDCWD, target.encode(), flags, wanted, len(wanted))


def process_control(option: int, value: int) -> None:
    """Change this process by prctl, with one argument.

    Raises:
        OSError: the kernel refused.
    """
    _checked(_libc.prctl(option, *[ctypes.c_ulong(number) for number in (value, 0, 0, 0)]), f"prctl {option}")


def drop_capabilities() -> None:
    """Give up every capability of this thread; with no_new_privs and without exec it can regain none.

    Raises:
        OSError: the kernel refused.
    """
    header = struct.pack("=II", _CAPABILITY_VERSION_3, 0)
    system_call("capset", header, struct.pack("=6I", *[0] * 6))


def _number(name: str) -> int:
    return _SHARED_CALLS[name] if name in _SHARED_CALLS else _CALLS[platform.machine()][name]


def _argument(value: Any) -> Any:
    """Convert arguments to register width, which variadic C arguments must have."""
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
