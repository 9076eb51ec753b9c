from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from attacks import SMALL, guests, judged, own_children, run, said

from rewards.code import unit_tests
from rlpost.errors import SandboxError
from rlpost.records import Fault, Sample
from rlpost.sandbox import host
from rlpost.sandbox.programs import run_program
from rlpost.sandbox.self_test import ATTACKS, containment
from rlpost.scoring.workers import WorkerPool


def test_input_becomes_output() -> None:
    ran = run_program("import sys\nprint(sum(map(int, sys.stdin.read().split())))", stdin="1 2\n39\n", limits=SMALL)
    assert (ran.stdout, ran.stderr, ran.stopped, ran.ended.exit_code) == (b"42\n", b"", "", 0)


def test_a_megabyte_goes_in_while_a_megabyte_comes_out() -> None:
    text = "x" * 10**6
    ran = run_program(
        "import sys\nfor c in sys.stdin.read(): sys.stdout.write(c)",
        stdin=text,
        limits=replace(SMALL, output_bytes=2**21),
    )
    assert ran.stdout == text.encode()


def test_an_exception_is_on_standard_error_with_exit_status_1() -> None:
    ran = run("print('first')\nraise ValueError('why')")
    assert (ran.stdout, ran.ended.exit_code) == (b"first\n", 1)
    assert ran.stderr.endswith(b"ValueError: why\n")


@pytest.mark.parametrize(
    ("ending", "status"), [("sys.exit(3)", 3), ("sys.exit('no')", 1), ("sys.exit()", 0), ("os._exit(7)", 7)]
)
def test_exit_statuses(ending: str, status: int) -> None:
    assert run(f"import os, sys\n{ending}").ended.exit_code == status


def test_threads_and_exit_handlers_are_waited_for() -> None:
    program = (
        "import atexit, threading, time\natexit.register(print, 'last')\n"
        "def late():\n    time.sleep(0.1)\n    print('thread')\nthreading.Thread(target=late).start()\nprint('main')"
    )
    assert said(run(program)).split() == ["main", "thread", "last"]


def test_the_usual_library_is_there() -> None:
    names = (
        "asyncio, bisect, collections, csv, dataclasses, decimal, functools, hashlib, heapq, itertools, json, math, "
        "queue, random, re, sqlite3, statistics, string, typing, unittest, zlib, concurrent.futures"
    )
    program = f"import {names}\nasync def f(): return 1\nprint(asyncio.run(f()))"
    assert said(run(program)) == "1"


def test_deep_recursion_with_a_raised_limit() -> None:
    assert (
        said(run("import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)\nprint(f(50_000))"))
        == "50000"
    )


def test_a_crash_is_named() -> None:
    assert run("import ctypes\nctypes.string_at(0)").stopped == "signal"


@pytest.mark.parametrize(
    ("exit_code", "cpu_s", "passed"),
    [(-9, 0.7, True), (-9, 0.1, False), (0, 0.9, False), (0, 1.0, True), (-11, 0.9, False)],
)
def test_a_kill_by_the_kernels_ticks_is_a_time_limit(exit_code: int, cpu_s: float, passed: bool) -> None:
    assert host.Ended(exit_code=exit_code, cpu_s=cpu_s, peak_mib=1.0).passed_time_limit(SMALL) is passed


def test_many_at_a_time_from_several_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: said(run(f"print({number} ** 2)")), range(24)))
    assert found == [str(number**2) for number in range(24)]
    assert guests() == set()


def test_no_descriptor_and_no_process_is_left() -> None:
    run("print(1)")
    before = (len(list(Path("/proc/self/fd").iterdir())), own_children())
    for _ in range(20):
        run("print(1)")
    assert (len(list(Path("/proc/self/fd").iterdir())), own_children()) == before
    assert guests() == set()


def test_a_launcher_that_died_is_replaced() -> None:
    first = host.launcher()
    os.kill(first.process_id, signal.SIGKILL)
    first._process.wait(10)
    assert said(run("print(1)")) == "1"
    assert host.launcher().process_id != first.process_id
    first.close()


def test_a_launcher_that_dies_in_the_middle_is_no_fault_of_the_program() -> None:
    launcher = host.Launcher()
    guest = launcher.start(
        "server", {"program": "while True: pass", "shared": False}, limits=SMALL, descriptors=[0, 1, 2]
    )
    os.kill(launcher.process_id, signal.SIGKILL)
    with pytest.raises(SandboxError, match="launcher"):
        guest.end()
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.kill(guest.process_id, 0)
            signal.sigtimedwait([], 0.01)
    launcher.close()


BROKEN = "def no(*a, **b): raise OSError(1, 'not here')\n"


def start_broken(monkeypatch: pytest.MonkeyPatch, change: str) -> host.Launcher:
    """A launcher on a machine that lacks something."""
    before = "import rlpost.sandbox.launcher_main as m\n"
    monkeypatch.setattr(host, "_BOOT", host._BOOT.replace("main(int", f"{before}{BROKEN}{change}\nmain(int"))
    return host.Launcher()


def test_without_namespaces_and_landlock_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    change = "m.probe_namespaces = no; m.landlock.landlock_version = lambda: 0"
    with pytest.raises(SandboxError, match=r"this machine has no namespaces: .*not here; no landlock: "):
        start_broken(monkeypatch, change)


def test_a_python_that_the_sandbox_cannot_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    change = "m.minimal_root.enter_minimal_root = no; m.os.access = lambda *_: False"
    with pytest.raises(SandboxError, match=r"no Python: the sandbox's user cannot read /.*install it where everybody"):
        start_broken(monkeypatch, change)


def test_without_namespaces_landlock_and_seccomp_contain(monkeypatch: pytest.MonkeyPatch) -> None:
    weaker = start_broken(monkeypatch, "m.probe_namespaces = no")
    monkeypatch.setattr(host, "_current", weaker)
    try:
        containment.cache_clear()
        found = containment()
        assert found.missing == ("namespaces: [Errno 1] not here",)
        assert found.layers == ("Landlock 7", "seccomp filter", "hard resource limits", "no privileges")
        assert found.checks == dict.fromkeys(ATTACKS, "contained")
        assert found.holds
        writes = "attempt(lambda: open('f', 'w'))[0]"
        reads = "attempt(lambda: open('/proc/self/maps'))[0]"
        kills = "attempt(lambda: os.kill(os.getppid(), 9))[0]"
        assert set(said(run(f"import os, sqlite3\nprint({writes}, {reads}, {kills})")).split()) <= {
            "PermissionError",
            "FileNotFoundError",
            "OSError",  # the root is read-only
        }
        assert judged("def f(x): return x", "assert f(1) == 1").score == 1.0
    finally:
        containment.cache_clear()
        weaker.close()


def test_this_machine_is_contained_by_all_layers_and_says_so() -> None:
    found = containment()
    assert found.holds
    assert found.checks == dict.fromkeys(ATTACKS, "contained")
    assert found.layers[:2] == ("namespaces (user, process, mount, network, IPC)", "minimal read-only root")
    assert "seccomp filter" in found.layers


def test_a_worker_killed_at_its_deadline_takes_launcher_and_guests_with_it() -> None:
    pool = WorkerPool(unit_tests, workers=1)
    sample = Sample(id="s", prompt="", response="def f():\n    while True: pass", gold="assert f() == 1")
    quick = Sample(id="q", prompt="", response="def f(): return 1", gold="assert f() == 1")
    try:
        [first] = pool.judge([quick], params=unit_tests.validated({}), timeout_s=30)
        [worker] = pool.pids
        [launched] = descendants(worker)
        [slow] = pool.judge([sample], params=unit_tests.validated({"time_limit_s": 50.0}), timeout_s=1.0)
        assert (first.score, slow.fault, slow.score) == (1.0, Fault.POLICY, 0.0)
        assert ends(launched, within_s=20)
        [again] = pool.judge([quick], params=unit_tests.validated({}), timeout_s=30)
        assert again.score == 1.0
    finally:
        pool.close()


def ends(process_id: int, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def descendants(process_id: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()}
