"""Only the model's own text can be at fault by policy, and no verdict reaches the wrong sample."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_verifiers import failing, stray

from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.worker_messages import ReplyNumber, StrayReplyError, decode_verdict, encode_verdict
from rlpost.scoring.workers import WorkerPool

MACHINE = ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EIO", "EROFS")


@pytest.fixture(scope="module")
def failing_pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(failing, workers=1)
    yield pool
    pool.close()


def judge(pool: WorkerPool, response: str, *, gold: str) -> Verdict:
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    return pool.judge([sample], params={}, timeout_s=5.0)[0]


@pytest.mark.parametrize(
    "gold",
    [*(f"os_error {name}" for name in MACHINE), "os_error_inside", "no_thread", "sys_exit 0", "type_error"],
)
def test_failures_of_the_machine_and_mistakes_of_a_verifier_have_no_score(failing_pool: WorkerPool, gold: str) -> None:
    verdict = judge(failing_pool, "a right answer", gold=gold)
    assert (verdict.fault, verdict.score) == (Fault.INFRA, None)
    assert "probe.failing" in verdict.reason
    assert judge(failing_pool, "a right answer", gold="none").score == 1.0


@pytest.mark.parametrize("error", ["TypeError", "RecursionError", "KeyError"])
def test_a_text_that_makes_a_verifier_fail_gets_the_floor(failing_pool: WorkerPool, error: str) -> None:
    verdict = judge(failing_pool, "hostile", gold=f"hostile {error}")
    assert (verdict.fault, verdict.score) == (Fault.POLICY, -1.0)
    assert judge(failing_pool, "harmless", gold=f"hostile {error}").score == 1.0


@pytest.mark.parametrize("name", ["ENAMETOOLONG", "ENOENT", "EINVAL"])
def test_system_errors_that_a_text_can_cause_stay_the_policys(failing_pool: WorkerPool, name: str) -> None:
    assert judge(failing_pool, "a", gold=f"os_error {name}").fault is Fault.POLICY


@pytest.mark.parametrize("gold", ["fork", "standard", "sockets"])
def test_extra_lines_of_a_verifiers_process_move_no_verdict_to_another_sample(gold: str) -> None:
    pool = WorkerPool(stray, workers=1)
    wanted = [0.0, 1.0, 0.5, 1.0, 0.0, 0.75] * 3
    samples = [
        Sample(id=str(place), prompt="", response=str(score), gold=gold if place % 6 in (0, 3) else None)
        for place, score in enumerate(wanted)
    ]
    try:
        verdicts = pool.judge(samples, params={}, timeout_s=2.0) + pool.judge(samples, params={}, timeout_s=2.0)
    finally:
        pool.close()
    for verdict, score, sample in zip(verdicts, wanted * 2, samples * 2, strict=True):
        if gold == "sockets" and sample.gold:
            assert (verdict.fault, verdict.score) == (Fault.INFRA, None)
            assert "wrote among its replies" in verdict.reason
        else:
            assert (verdict.fault, verdict.score) == (None, score)


def test_a_process_that_a_verifier_puts_into_the_background_ends_with_the_pool(tmp_path: Path) -> None:
    note = tmp_path / "process id"
    pool = WorkerPool(stray, workers=1)
    [verdict] = pool.judge([Sample(id="s", prompt=str(note), response="1", gold="daemon")], params={}, timeout_s=20.0)
    assert verdict.score == 1.0
    stat = Path(f"/proc/{note.read_text()}/stat")
    assert stat.exists()
    pool.close()
    deadline = time.monotonic() + 20
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"7",
        b"not a reply",
        b"[" * 100_000,
        encode_verdict(Verdict(score=1.0), number=ReplyNumber(batch=1, place=0)),
        encode_verdict(Verdict(score=1.0), number=ReplyNumber(batch=2, place=1)),
    ],
)
def test_a_line_without_the_number_that_is_due_is_refused(line: bytes) -> None:
    with pytest.raises(StrayReplyError, match="expected reply 0 of batch 2"):
        decode_verdict(line, number=ReplyNumber(batch=2, place=0))
