"""The system calls that a guest may not make, as a classic BPF program for seccomp(2), on x86_64 and aarch64.

A guest is one process that computes, reads its library, and writes into its scratch folder. It may start threads but no
processes, so nothing can outlive it, and its address-space limit bounds its memory. Denied calls fail with EPERM, so
that an honest program sees an exception. Calls that are newer than this list fail with ENOSYS, as on an older kernel. A
call for another architecture kills the process. Source: the kernel's Documentation/userspace-api/seccomp_filter.rst and
unistd headers.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

from rlpost.sandbox.kernel import CLONE_THREAD, system_call

_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SET_MODE_FILTER = 1
FIRST_UNKNOWN_CALL = 451
"""The number of cachestat; it is also below every call of the x32 architecture, whose numbers begin at 2^30."""
_UNIX_SOCKETS = 1

# Numbers for (x86_64, aarch64); None if the architecture lacks the call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Observing, signalling or starting other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # Namespaces, mounts, and machine-wide settings.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "syslog": (103, 116),
    "personality": (135, 92),
    "vhangup": (153, 58),
    # Kernel features with a history of vulnerabilities.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "seccomp": (317, 277),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # Sockets; connected pairs are handled below.
    "socket": (41, 198),
    "bind": (49, 200),
    "connect": (42, 203),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # Memory that the address-space limit does not count.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "mq_notify": (244, 184),
    "mlock": (149, 228),
    "mlock2": (325, 284),
    "mlockall": (151, 230),
    # A lock or a watch on a file of the library is seen by other guests and by the host.
    "flock": (73, 32),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    # Changes to files that Landlock does not control.
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "truncate": (76, 45),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "mknod": (133, None),
    "mknodat": (259, 33),
}
_BY_ARGUMENT = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "prctl": (157, 167),
    "socketpair": (53, 199),
}
_FCNTL_REFUSED = (6, 7, 8, 10, 15, 37, 38, 1024, 1026, 1031)
"""F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW, F_SETLEASE, F_NOTIFY: others notice them on files of the library.
F_SETOWN, F_SETSIG, F_SETOWN_EX: they make the kernel send a signal to another process. F_SETPIPE_SZ: the
address-space limit does not count what pipes hold."""
_IOCTL_SIGNALS_AND_TERMINALS = (0x8901, 0x8902, 0x5412, 0x541C)
"""FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX."""
_PRCTL_REFUSED = (1, 22)
"""PR_SET_PDEATHSIG, which makes a guest die with its launcher, and PR_SET_SECCOMP."""


def filter_program(process_id: int) -> bytes:
    """Return the filter's instructions for the guest with this process id, as the guest itself sees it.

    Call numbers are found by bisection: the kernel checks a new filter on every number, so a long list of comparisons
    would cost half a millisecond per guest.
    """
    machine = platform.machine()
    header = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, _ARCHITECTURES[machine], yes=1),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    return b"".join(header + _bisection(_rules(machine, process_id)))


def _rules(machine: str, process_id: int) -> list[tuple[int, list[bytes]]]:
    """Return (first number, instructions for numbers from there up to the next entry), in ascending order, from 0."""
    column = list(_ARCHITECTURES).index(machine)
    refuse, allow = [_instruction(_RETURN, _ERRNO | errno.EPERM)], [_instruction(_RETURN, _ALLOW)]
    by_number = {number: refuse for numbers in _REFUSED.values() if (number := numbers[column]) is not None}
    by_number |= {numbers[column]: _argument_rule(name, process_id) for name, numbers in _BY_ARGUMENT.items()}
    rules = [(0, by_number.get(0, allow))]
    for number in range(1, FIRST_UNKNOWN_CALL):
        rule = by_number.get(number, allow)
        if rule != rules[-1][1]:
            rules.append((number, rule))
    return [*rules, (FIRST_UNKNOWN_CALL, [_instruction(_RETURN, _ERRNO | errno.ENOSYS)])]


def _bisection(rules: list[tuple[int, list[bytes]]]) -> list[bytes]:
    if len(rules) == 1:
        return rules[0][1]
    middle = len(rules) // 2
    below = _bisection(rules[:middle])
    return [_instruction(_AT_LEAST, rules[middle][0], yes=len(below)), *below, *_bisection(rules[middle:])]


def install(program: bytes) -> None:
    """Apply a filter to this process and all its threads, permanently; no_new_privs must be set.

    Raises:
        OSError: the kernel refused.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    descriptor = struct.pack("@HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    system_call("seccomp", _SET_MODE_FILTER, 0, descriptor)


def _argument_rule(name: str, process_id: int) -> list[bytes]:
    """Return the instructions for a call whose number has matched."""
    if name == "clone3":  # its flags are in memory, which a filter cannot read; libraries fall back on clone
        return [_instruction(_RETURN, _ERRNO | errno.ENOSYS)]
    if name == "clone":
        return _only_if(0, [CLONE_THREAD], test=_HAS_BITS)
    if name in ("kill", "tgkill"):
        return _only_if(0, [process_id])
    if name == "prlimit64":
        return _only_if(0, [0])
    if name == "socketpair":
        return _only_if(0, [_UNIX_SOCKETS])
    refused = {"fcntl": _FCNTL_REFUSED, "ioctl": _IOCTL_SIGNALS_AND_TERMINALS, "prctl": _PRCTL_REFUSED}[name]
    return _unless(0 if name == "prctl" else 1, list(refused))


def _only_if(argument: int, values: list[int], *, test: int = _EQUAL) -> list[bytes]:
    return _compare(argument, values, test=test, found=_ALLOW, otherwise=_ERRNO | errno.EPERM)


def _unless(argument: int, values: list[int]) -> list[bytes]:
    return _compare(argument, values, test=_EQUAL, found=_ERRNO | errno.EPERM, otherwise=_ALLOW)


def _compare(argument: int, values: list[int], *, test: int, found: int, otherwise: int) -> list[bytes]:
    """Compare an argument's lower half: the kernel reads these arguments as 32-bit numbers."""
    code = [_instruction(_LOAD, _ARGUMENTS + 8 * argument)]
    for value in values:
        code += [_instruction(test, value, no=1), _instruction(_RETURN, found)]
    return [*code, _instruction(_RETURN, otherwise)]


def _instruction(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """Encode one instruction; `yes` and `no` are the numbers of instructions to skip after a comparison."""
    return struct.pack("=HBBI", code, yes, no, value)
