"""A root file system that contains only Python's library, shared libraries, and a few harmless devices."""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
from pathlib import Path

from rlpost.sandbox.kernel import (
    ATTR_NODEV,
    ATTR_NOSUID,
    ATTR_READ_ONLY,
    CLONE_NEWUSER,
    LAUNCHER_NAMESPACES,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    add_mount_attributes,
    map_own_user,
    mount,
    system_call,
    unmount,
    unshare,
)

SCRATCH = "/tmp"
"""The only folder that a guest can write to; each guest has its own, in memory."""
HOST_NAME = "sandbox"
"""The name of the machine that a guest sees."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib64", "/usr/local/lib")


def library_paths() -> list[str]:
    """Existing folders that an interpreter reads while it runs: Python's own library and shared libraries."""
    python = sysconfig.get_paths()
    wanted = [python["stdlib"], python["platstdlib"], str(Path(sys.base_exec_prefix) / "lib"), *_LIBRARIES]
    found = [path for path in dict.fromkeys(wanted) if Path(path).is_dir()]
    return [path for path in found if not any(_lies_in(path, other) for other in found)]


def package_paths() -> list[str]:
    """Folders of installed packages inside `library_paths`; guests may not read them."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefixes = [Path(sys.base_exec_prefix), Path("/usr"), Path("/usr/local")]
    inside = [Path("lib", name) for name in (f"{version}/site-packages", f"{version}/dist-packages")]
    inside.append(Path("lib/python3/dist-packages"))
    folders = dict.fromkeys(str(prefix / folder) for prefix in prefixes for folder in inside)
    return [folder for folder in folders if Path(folder).is_dir()]


def enter_minimal_root(place: str, *, proc: int) -> None:
    """Move this process into new namespaces, with no network and with a minimal, read-only root.

    An ordinary user also gets a user namespace, in which it may mount. `place` is an empty folder to build the root in;
    `proc` is an open `/proc`, because the new root has none.

    Raises:
        OSError: the kernel does not allow this process new namespaces.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(LAUNCHER_NAMESPACES)
    except PermissionError:
        unshare(CLONE_NEWUSER | LAUNCHER_NAMESPACES)
        map_own_user(proc, inside=0, user=user, group=group)
    socket.sethostname(HOST_NAME)
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    mount("sandbox", place, kind="tmpfs", flags=MS_NOSUID | MS_NODEV, data="size=1m,mode=755")
    for path in library_paths():
        _bind_library(path, place)
    for path in package_paths():
        mount("sandbox", place + path, kind="tmpfs", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC, data="size=4k,mode=755")
        add_mount_attributes(place + path, ATTR_READ_ONLY, recursive=False)
    Path(f"{place}/dev").mkdir()
    for path in DEVICES:
        Path(place + path).touch()
        mount(path, place + path, flags=MS_BIND)
    Path(place + SCRATCH).mkdir()
    Path(f"{place}/dev/shm").symlink_to(SCRATCH)
    add_mount_attributes(place, ATTR_READ_ONLY | ATTR_NOSUID | ATTR_NODEV, recursive=False)
    os.chdir(place)
    system_call("pivot_root", b".", b".")
    unmount(".", MNT_DETACH)
    os.chdir("/")


def mount_scratch(*, size_mib: int, files: int) -> None:
    """Give this process its own scratch folder in memory, with a limit on bytes and on files.

    Raises:
        OSError: the kernel refused.
    """
    options = f"size={size_mib}m,nr_inodes={files},mode=700"
    mount("scratch", SCRATCH, kind="tmpfs", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC, data=options)
    os.chdir(SCRATCH)


def _bind_library(path: str, place: str) -> None:
    copy = Path(place + path)
    if Path(path).is_symlink():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(Path(path).readlink())
        return
    copy.mkdir(parents=True, exist_ok=True)
    mount(path, place + path, flags=MS_BIND | MS_REC)
    add_mount_attributes(place + path, ATTR_READ_ONLY | ATTR_NOSUID | ATTR_NODEV, recursive=True)


def _lies_in(path: str, other: str) -> bool:
    return path != other and not Path(other).is_symlink() and Path(path).is_relative_to(other)
