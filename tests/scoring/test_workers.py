from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_verifiers import fails_its_case, obedient, same, without_library

from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring import workers as workers_module
from rlpost.scoring.workers import WorkerPool


def sample(response: str, *, gold: object = None, name: str = "s") -> Sample:
    return Sample(id=name, prompt="", response=response, gold=gold)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(obedient, workers=1)
    yield pool
    pool.close()


def judge(pool: WorkerPool, *commands: str, timeout_s: float = 1.0) -> list[Verdict]:
    return pool.judge([sample(command) for command in commands], params={}, timeout_s=timeout_s)


def is_gone(pid: int, *, within_s: float = 5.0) -> bool:
    """A process that is dead, or a zombie that only waits to be reaped by init."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("command", ["sleep", "bignum", "stop", "math_verify 9^{9^{9^{9}}}"])
def test_a_sample_past_its_deadline_alone_gets_a_policy_fault_and_the_later_ones_are_judged(
    pool: WorkerPool, command: str
) -> None:
    started = time.monotonic()
    before, late, after, last = judge(pool, "score 0.25", command, "score 1", "score 0.5")
    assert (before.score, after.score, last.score) == (0.25, 1.0, 0.5)
    assert (before.fault, after.fault, last.fault) == (None, None, None)
    assert (late.fault, late.score) == (Fault.POLICY, 0.0)
    assert late.reason == "timed out after 1 s"
    assert 1.0 < time.monotonic() - started < 10.0


def test_the_deadline_of_a_sample_does_not_run_while_the_samples_before_it_are_judged(pool: WorkerPool) -> None:
    verdicts = judge(pool, "sleep", "sleep", "score 1", timeout_s=0.4)
    assert [verdict.fault for verdict in verdicts] == [Fault.POLICY, Fault.POLICY, None]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("segfault", "exit code -11"),
        ("os_exit", "exit code 3"),
        ("memory", "ran out of memory (512 MiB)"),
        ("raise", "raised ValueError: cannot read this"),
    ],
)
def test_a_crash_is_the_policys_fault_for_that_sample_only(pool: WorkerPool, command: str, reason: str) -> None:
    crashed, after = judge(pool, command, "score 1")
    assert (crashed.fault, crashed.score) == (Fault.POLICY, 0.0)
    assert reason in crashed.reason
    assert (after.fault, after.score) == (None, 1.0)


def test_a_worker_killed_from_outside_is_an_infra_fault_without_a_score(pool: WorkerPool) -> None:
    killed, after = judge(pool, "killed", "score 1")
    assert (killed.fault, killed.score) == (Fault.INFRA, None)
    assert after.score == 1.0


def test_a_worker_that_died_while_idle_costs_no_sample_anything(pool: WorkerPool) -> None:
    judge(pool, "score 1")
    os.kill(pool.pids[0], signal.SIGKILL)
    time.sleep(0.2)
    assert judge(pool, "score 1")[0].score == 1.0


def test_a_kill_takes_the_children_of_the_worker_with_it(pool: WorkerPool, tmp_path: Path) -> None:
    written = tmp_path / "pid"
    assert judge(pool, f"child {written}")[0].fault is Fault.POLICY
    assert is_gone(int(written.read_text()))


def test_processes_stay_warm_between_calls_and_are_replaced_after_their_share(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (judge(pool, "pid")[0].parsed for _ in range(2))
    assert first == second
    monkeypatch.setattr(workers_module, "SAMPLES_PER_PROCESS", 1)
    assert judge(pool, "pid")[0].parsed != first


@pytest.mark.parametrize("command", ["score 1.5", "score nan", "text", "bad_verdict"])
def test_a_broken_contract_raises_and_the_pool_still_works(pool: WorkerPool, command: str) -> None:
    with pytest.raises(RewardError, match=r"probe\.obedient"):
        judge(pool, "score 1", command, "score 1", "score 1")
    assert [verdict.score for verdict in judge(pool, "score 0.5", "score 1")] == [0.5, 1.0]


def test_what_a_verifier_prints_and_long_or_odd_texts_do_not_disturb_the_replies(pool: WorkerPool) -> None:
    printed, long, fault = judge(pool, "print", "long_text", "gold_fault")
    assert printed.score == 1.0
    assert long.parsed == "\ud800x" * 1000
    assert long.reason == "\n"
    assert (fault.fault, fault.reason) == (Fault.GOLD, "unreadable")


@pytest.mark.parametrize(
    ("verifier", "reason"),
    [(without_library, "No module named 'a_library_that_is_not_there'"), (fails_its_case, "fails its own case")],
)
def test_a_worker_that_cannot_start_is_an_infra_fault_that_says_why(verifier, reason: str) -> None:
    pool = WorkerPool(verifier, workers=1)
    try:
        verdicts = pool.judge([sample("a", gold="b")] * 100, params={}, timeout_s=1.0)
    finally:
        pool.close()
    assert {verdict.fault for verdict in verdicts} == {Fault.INFRA}
    assert {verdict.score for verdict in verdicts} == {None}
    assert all(reason in verdict.reason for verdict in verdicts)


def test_order_is_kept_over_several_workers_and_from_several_threads() -> None:
    pool = WorkerPool(same, workers=2)
    samples = [sample(str(index % 3), gold="1") for index in range(301)]
    results: list[list[float | None]] = []

    def score() -> None:
        verdicts = pool.judge(samples, params={"scale": 0.5, "mode": "plain"}, timeout_s=5.0)
        results.append([verdict.score for verdict in verdicts])

    threads = [threading.Thread(target=score) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(pool.pids) == 2
    pool.close()
    assert results == [[0.5 * (index % 3 == 1) for index in range(301)]] * 3
    assert pool.pids == []


PARENT = """
import sys
from probe_verifiers import obedient
from rlpost.records import Sample
from rlpost.scoring.workers import WorkerPool

pool = WorkerPool(obedient, workers=1)
def judge(text):
    return pool.judge([Sample(id="s", prompt="", response=text)], params={}, timeout_s=60.0)[0]
print(judge("pid").parsed, flush=True)
judge("bignum")
"""


def test_workers_die_with_their_parent_even_in_the_middle_of_a_sample() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(0.3)  # the worker is now inside the power, where it cannot notice a closed socket
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    assert is_gone(worker)


def test_easy_verdicts_cost_well_under_a_millisecond() -> None:
    pool = WorkerPool(same, workers=1)
    samples = [sample(str(index), gold="1") for index in range(3000)]
    pool.judge(samples[:1], params={}, timeout_s=5.0)
    started = time.perf_counter()
    pool.judge(samples, params={}, timeout_s=5.0)
    seconds = time.perf_counter() - started
    pool.close()
    assert seconds < 3.0, f"{seconds / 3000 * 1e3:.2f} ms a sample"
