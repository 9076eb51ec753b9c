"""Attacks on the machine. Each asserts what the attacker got, which is nothing, and where it matters what is left."""

from __future__ import annotations

import errno
import os
import platform
import socket
import time
from pathlib import Path

import pytest
from attacks import CTYPES, SMALL, guests, run, said, system_call

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="raw system calls are numbered for x86_64 here")
REFUSED = ("PermissionError", "FileNotFoundError", "OSError", "NotADirectoryError")


def test_fork_bomb() -> None:
    assert said(run("import os\nprint(attempt(os.fork))")) == "('PermissionError', 1)"
    assert guests() == set()


def test_fork_bomb_by_raw_clone_and_vfork() -> None:
    assert [system_call(56, 17, 0, 0, 0, 0), system_call(57), system_call(58)] == [str(errno.EPERM)] * 3


def test_fork_by_clone3() -> None:
    assert system_call(435, "bytes(88)", 88) == str(errno.ENOSYS)


def test_thread_bomb() -> None:
    ran = run(
        "import threading, time\ndef start():\n    for _ in range(10_000):\n"
        "        threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()\n"
        "print(attempt(start)[0], threading.active_count())"
    )
    kind, count = said(ran).split()
    assert kind == "RuntimeError"
    assert int(count) <= SMALL.threads


def test_memory_bomb() -> None:
    ran = run("chunks = []\nwhile True: chunks.append(bytearray(2**20))")
    assert ran.stopped == "memory"
    assert ran.ended.peak_mib < SMALL.memory_mib + 32


def test_memory_outside_of_the_address_space() -> None:
    calls = {"memfd_create": (319, "b'x'", 0), "shmget": (29, 0, 2**30, 0o1600), "mq_open": (240, "b'x'", 66, 384, 0)}
    assert {name: system_call(*call) for name, call in calls.items()} == dict.fromkeys(calls, str(errno.EPERM))


def test_memory_in_pipes() -> None:
    ran = run(
        "import fcntl, os\nfilled = 0\ndef fill():\n    global filled\n    while True:\n        _, end = os.pipe()\n"
        "        os.set_blocking(end, False)\n        attempt(lambda: fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 2**20))\n"
        "        while (wrote := attempt(lambda: os.write(end, bytes(2**16))))[0] == 'got': filled += wrote[1]\n"
        "print(attempt(fill), filled)"
    )
    *error, filled = said(ran).rsplit(" ", 1)
    assert error == [f"('OSError', {errno.EMFILE})"]
    assert 0 < int(filled) <= 2 * 2**20


def test_filling_the_disk() -> None:
    ran = run(
        "import os\ndef fill():\n    for number in range(100):\n"
        "        with open(str(number), 'wb') as file: file.write(bytes(2**20))\n"
        "print(attempt(fill), sum(os.path.getsize(name) for name in os.listdir()) // 2**20)"
    )
    assert said(ran) == f"('OSError', {errno.ENOSPC}) {SMALL.scratch_mib}"


def test_one_huge_sparse_file() -> None:
    ran = run("file = open('sparse', 'wb')\nprint(attempt(lambda: file.truncate(2**40)))")
    assert said(ran) == f"('OSError', {errno.EFBIG})"


def test_filling_the_inodes() -> None:
    ran = run(
        "import os\ndef fill():\n    for number in range(100_000): open(str(number), 'w').close()\n"
        "print(attempt(fill), len(os.listdir()) < 300)"
    )
    assert said(ran) == f"('OSError', {errno.ENOSPC}) True"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_flood(stream: str) -> None:
    started = time.monotonic()
    ran = run(f"import sys\nwhile True: sys.{stream}.write('x' * 10**5)", cpu_s=20.0, wall_s=20.0)
    assert ran.stopped == "output"
    assert len(ran.stdout) + len(ran.stderr) <= SMALL.output_bytes
    assert time.monotonic() - started < 10


def test_150_kb_of_output_are_no_time_limit() -> None:
    assert len(said(run("print('x' * 150_000)"))) == 150_000


def test_output_after_standard_output_was_closed_does_not_hang() -> None:
    started = time.monotonic()
    ran = run("import os\nos.close(1); os.close(2)\nwhile True: pass")
    assert ran.stopped == "time"
    assert time.monotonic() - started < SMALL.wall_s + 1


@pytest.mark.parametrize(
    "kind",
    [(socket.AF_INET, 1), (socket.AF_INET6, 1), (socket.AF_UNIX, 1), (socket.AF_NETLINK, 3), (socket.AF_PACKET, 3)],
    ids=["ipv4", "ipv6", "unix", "netlink", "packet"],
)
def test_opening_a_socket(kind: tuple[int, int]) -> None:
    ran = run(f"import socket\nprint(attempt(lambda: socket.socket({int(kind[0])}, {kind[1]})))")
    assert said(ran) == "('PermissionError', 1)"


def test_connecting_to_a_service_of_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ran = run(f"import socket\nprint(attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 1))[0])")
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert said(ran) == "PermissionError"


def test_an_abstract_unix_address_through_a_pair() -> None:
    ran = run(
        "import socket\none, two = socket.socketpair()\ntwo.send(b'x'); assert one.recv(1) == b'x'\n"
        "print(attempt(lambda: one.bind('\\0name'))[0], attempt(lambda: one.connect('\\0name'))[0])"
    )
    assert said(ran) == "PermissionError PermissionError"


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/passwd", "/proc/1/environ", "/proc/self/environ", "/sys/kernel"])
def test_reading_the_host(path: str) -> None:
    read = f"os.listdir('{path}')" if path == "/sys/kernel" else f"open('{path}').read()"
    assert said(run(f"import os\nprint(attempt(lambda: {read})[0])")) in REFUSED


def test_the_hosts_environment_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY_OF_THE_HOST", "hunter2")
    ran = run("import os\nprint(sorted(os.environ))")
    assert said(ran) == "['HOME', 'LANG', 'PYTHONHASHSEED', 'TMPDIR']"


def test_nothing_of_the_repository_or_of_installed_packages_can_be_read() -> None:
    here = Path(__file__).resolve()
    ran = run(
        f"import sys\nprint(attempt(lambda: open({str(here)!r}).read())[0], attempt(lambda: __import__('numpy'))[0],"
        " [name for name in sys.modules if name.startswith('rlpost')])"
    )
    assert said(ran) == "FileNotFoundError ModuleNotFoundError []"


def test_killing_everything() -> None:
    ran = run("import os, signal\nprint(attempt(lambda: os.kill(-1, 9)), attempt(lambda: os.kill(0, 9)))")
    assert said(ran) == "('PermissionError', 1) ('PermissionError', 1)"


def test_a_signal_to_a_sibling_or_to_the_host() -> None:
    ran = run(f"import os\nprint([attempt(lambda: os.kill(pid, 9))[0] for pid in (2, 3, {os.getpid()})])")
    assert said(ran) == str(["PermissionError"] * 3)


def test_a_signal_by_way_of_a_file() -> None:
    ran = run(
        f"import fcntl, os\nr, w = os.pipe()\nprint(attempt(lambda: fcntl.fcntl(r, fcntl.F_SETOWN, {os.getpid()})))"
    )
    assert said(ran) == "('PermissionError', 1)"


def test_the_hosts_name_is_not_there() -> None:
    assert said(run("import os, socket\nprint(os.uname().nodename, socket.gethostname())")) == "sandbox sandbox"
    assert socket.gethostname() != "sandbox"


@pytest.mark.parametrize(
    "action",
    [
        "fcntl.flock(file, fcntl.LOCK_SH)",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.lockf(file, fcntl.LOCK_SH)",
        "fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "fcntl.fcntl(file, 37, bytes(32))",
        "fcntl.fcntl(file, 38, bytes(32))",
        "fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)",
        "fcntl.fcntl(os.open('/usr/lib', 0), fcntl.F_NOTIFY, fcntl.DN_ACCESS)",
    ],
)
def test_a_lock_that_other_guests_and_the_host_see(action: str) -> None:
    ran = run(f"import fcntl, os\nfile = open(os.__file__)\nprint(attempt(lambda: {action}))")
    assert said(ran) == "('PermissionError', 1)"


def test_a_watch_on_files_that_others_open() -> None:
    assert [system_call(253), system_call(294, 0)] == [str(errno.EPERM)] * 2


def test_ptrace_and_memory_of_the_parent() -> None:
    calls = {"ptrace": (101, 16, 1, 0, 0), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "pidfd_open": (434, 1, 0)}
    assert {name: system_call(*call) for name, call in calls.items()} == dict.fromkeys(calls, str(errno.EPERM))


@pytest.mark.parametrize("folder", ["/", "/usr/lib", "/etc", "/dev", "/proc", str(Path(os.__file__).parent)])
def test_writing_outside(folder: str) -> None:
    kind = said(run(f"print(attempt(lambda: open('{folder}/planted', 'w'))[0])"))
    assert kind in REFUSED
    assert not Path(folder, "planted").exists()


def test_escape_by_symbolic_link() -> None:
    ran = run(
        "import os\nos.symlink('/proc/1/root/etc/shadow', 'link'); os.symlink('../' * 30 + 'etc/shadow', 'up')\n"
        "print(attempt(lambda: open('link').read())[0], attempt(lambda: open('up').read())[0])"
    )
    assert said(ran) == "FileNotFoundError FileNotFoundError"


def test_what_is_written_to_scratch_is_gone_for_the_next_program_and_for_the_host() -> None:
    said(run("open('/tmp/planted', 'w').write('x'); open('/dev/shm/planted', 'w').write('x')"))
    assert said(run("import os\nprint(os.listdir('/tmp'), os.listdir('/dev/shm'))")) == "[] []"
    assert not Path("/tmp/planted").exists()
    assert not Path("/dev/shm/planted").exists()


def test_mounting() -> None:
    assert system_call(165, "b'x'", "b'/tmp'", "b'tmpfs'", 0, 0) == str(errno.EPERM)
    assert system_call(166, "b'/tmp'", 2) == str(errno.EPERM)


def test_escape_from_the_root_folder() -> None:
    ran = run("import os\nos.mkdir('a')\nprint(attempt(lambda: os.chroot('a')))")
    assert said(ran) == "('PermissionError', 1)"


def test_unshare_again() -> None:
    assert system_call(272, 0x10000000) == str(errno.EPERM)


def test_new_namespaces_by_a_thread() -> None:
    assert system_call(56, 0x10000 | 0x10000000 | 17, 0, 0, 0, 0) != "0"


def test_entering_another_namespace() -> None:
    assert system_call(308, 0, 0) == str(errno.EPERM)


def test_raising_its_own_limits() -> None:
    ran = run(
        "import resource as r\nkinds = [r.RLIMIT_AS, r.RLIMIT_CPU, r.RLIMIT_NPROC, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE]\n"
        "print({attempt(lambda: r.setrlimit(kind, (r.RLIM_INFINITY,) * 2))[0] for kind in kinds})"
    )
    assert said(ran) == "{'ValueError'}"


def test_limits_of_another_process() -> None:
    assert system_call(302, 2, 7, 0, 0) == str(errno.EPERM)


def test_a_daemon_that_would_outlive_it() -> None:
    before = guests()
    ran = run("import os\nprint(attempt(os.fork)[0])\nos.setsid() if attempt(os.setsid) else 0", wall_s=2.0)
    assert b"PermissionError" in ran.stdout
    assert guests() == before


def test_threads_that_go_on_are_killed() -> None:
    ran = run(
        "import threading\ndef spin():\n    while True: pass\n[threading.Thread(target=spin).start() for _ in range(4)]"
    )
    assert ran.stopped == "time"
    assert guests() == set()


def test_stopping_itself() -> None:
    ran = run("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nprint('goes on')", wall_s=1.0)
    assert ran.stopped == "time" or ran.stdout == b"goes on\n"
    assert guests() == set()


def test_ignoring_signals() -> None:
    ran = run(
        "import signal\nfor number in range(1, 64): attempt(lambda: signal.signal(number, signal.SIG_IGN))\n"
        "while True: pass"
    )
    assert ran.stopped == "time"
    assert ran.ended.cpu_s < SMALL.cpu_s + 0.5


def test_burning_the_processor_in_many_threads() -> None:
    started = time.monotonic()
    ran = run(
        "import threading\ndef spin():\n    while True: pass\n"
        "[threading.Thread(target=spin).start() for _ in range(8)]\nspin()"
    )
    assert ran.stopped == "time"
    assert time.monotonic() - started < SMALL.wall_s + 1


def test_sleeping() -> None:
    started = time.monotonic()
    assert run("import time\ntime.sleep(100)", wall_s=0.5).stopped == "time"
    assert time.monotonic() - started < 3


def test_starting_a_shell() -> None:
    ran = run(
        "import os, subprocess\nprint(attempt(lambda: os.execv('/bin/sh', ['sh']))[0],"
        " attempt(lambda: subprocess.run(['/bin/sh']))[0], os.path.exists('/bin/sh'))"
    )
    assert said(ran) == "PermissionError PermissionError False"


@pytest.mark.parametrize(
    "device", ["/dev/mem", "/dev/kmem", "/dev/sda", "/dev/vda", "/dev/tty", "/dev/ptmx", "/dev/fuse"]
)
def test_device_files(device: str) -> None:
    assert said(run(f"print(attempt(lambda: open('{device}', 'rb'))[0])")) == "FileNotFoundError"


def test_making_a_device() -> None:
    ran = run("import os, stat\nprint(attempt(lambda: os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0))))")
    assert said(ran) == "('PermissionError', 1)"


@pytest.mark.parametrize("number", [321, 298, 323, 425, 250, 246, 175, 304, 317], ids=str)
def test_corners_of_the_kernel(number: int) -> None:
    # bpf, perf_event_open, userfaultfd, io_uring_setup, keyctl, kexec_load, init_module, open_by_handle_at, seccomp
    assert system_call(number, 0, 0, 0, 0, 0) == str(errno.EPERM)


def test_calls_newer_than_the_filter() -> None:
    assert system_call(459, 0) == str(errno.ENOSYS)


def test_calls_of_another_architecture_kill() -> None:
    x32 = run(f"{CTYPES}print(ctypes.get_errno() if libc.syscall(0x40000000 | 41, 2, 1, 0) < 0 else 0)")
    assert said(x32) == str(errno.ENOSYS)


def test_surviving_the_death_of_its_launcher() -> None:
    assert said(run(f"{CTYPES}print(libc.prctl(1, 0, 0, 0, 0), ctypes.get_errno())")) == "-1 1"


def test_regaining_privileges() -> None:
    ran = run("import os\nprint(os.getresuid(), attempt(lambda: os.setuid(0)), attempt(lambda: os.setgroups([0]))[0])")
    assert said(ran) == "(1000, 1000, 1000) ('OSError', 22) PermissionError"


def test_reading_the_memory_of_other_programs() -> None:
    secret = "correct horse battery staple"
    said(run(f"text = '{secret[::-1]}'[::-1]\nprint('x')"))
    found = run(
        "import gc\nneedle = 'correct horse ' + 'battery'\n"
        "print(any(type(o) is str and needle in o and o != needle for o in gc.get_objects()),"
        " attempt(lambda: open('/proc/self/mem', 'rb'))[0], attempt(lambda: open('/proc/self/maps'))[0])"
    )
    assert said(found) == "False FileNotFoundError FileNotFoundError"


def test_descriptors_of_the_launcher() -> None:
    ran = run("import os\nprint([fd for fd in range(256) if attempt(lambda: os.fstat(fd))[0] == 'got'])")
    assert said(ran) == "[0, 1, 2]"
