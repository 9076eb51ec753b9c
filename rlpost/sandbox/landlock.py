"""Landlock: restricts the files that a guest may read and write. Source: the kernel's
Documentation/userspace-api/landlock.rst.

Where namespaces exist, Landlock is a second protection behind the mounts; without them, it alone protects the host's
files.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from rlpost.sandbox.kernel import system_call

_VERSION_REQUEST = 1
_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _DEVICE_CONTROL = 1 << 14, 1 << 15
# Number of kinds of file access that each version of Landlock knows.
_FILE_ACCESSES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ALL_TCP, _ALL_SCOPES = 0b11, 0b11


def landlock_version() -> int:
    """The Landlock version of the running kernel; 0 if it has none."""
    try:
        return system_call("landlock_create_ruleset", None, 0, _VERSION_REQUEST)
    except OSError:
        return 0


def confine(*, readable: Sequence[str], writable: Sequence[str], devices: Sequence[str]) -> None:
    """Deny this process all files except those beneath these paths, permanently; no_new_privs must be set.

    Network ports, abstract sockets and signals to other processes are denied too, if the kernel's Landlock supports
    that.

    Raises:
        OSError: the kernel refused, or a path does not exist.
    """
    version = landlock_version()
    every_access = (1 << _FILE_ACCESSES[min(version, max(_FILE_ACCESSES))]) - 1
    fields = [every_access]
    if version >= 4:
        fields.append(_ALL_TCP)
    if version >= 6:
        fields.append(_ALL_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = system_call("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(rules, path, _READ_FILE | _READ_FOLDER)
        for path in writable:
            _allow(rules, path, every_access)
        for path in devices:
            _allow(rules, path, (_READ_FILE | _WRITE_FILE | _TRUNCATE | _DEVICE_CONTROL) & every_access)
        system_call("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        system_call("landlock_add_rule", rules, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    finally:
        os.close(descriptor)
