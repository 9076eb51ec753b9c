"""One call for several samples: who is in it, and who pays when it breaks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from probe_verifiers import batch, group, group_inline, limits, same

from rlpost.records import Fault, Sample
from rlpost.scoring.calls import calls_of
from rlpost.scoring.executors import Executors
from rlpost.scoring.workers import ONE_THREAD, WorkerPool


def samples_of(*texts: str, group: str = "g") -> list[Sample]:
    return [Sample(id=f"s{place}", prompt="", response=text, group=group) for place, text in enumerate(texts)]


@pytest.fixture(scope="module")
def judges() -> Iterator[Executors]:
    judges = Executors([batch, group, group_inline], workers=2)
    yield judges
    judges.close()


def judge(judges: Executors, verifier, samples: list[Sample]):
    return judges.judge(verifier, samples, params={}, timeout_s=1.0)


def test_a_call_holds_one_sample_a_batch_or_a_group() -> None:
    mixed = [Sample(id=str(n), prompt="", response="", group=name) for n, name in enumerate(["a", "b", "a", "", ""])]
    assert calls_of(same.spec, mixed, most=9) == [[0], [1], [2], [3], [4]]
    assert calls_of(batch.spec, mixed, most=9) == [[0, 1, 2, 3], [4]]
    assert calls_of(batch.spec, mixed, most=2) == [[0, 1], [2, 3], [4]]
    assert calls_of(group.spec, mixed, most=1) == [[0, 2], [1], [3], [4]], "without a group, each is its own"


def test_batches_are_spread_over_the_workers_and_come_back_in_order(judges: Executors) -> None:
    verdicts = judge(judges, batch, samples_of(*(f"score 0.{n}" for n in range(1, 7))))
    assert [verdict.score for verdict in verdicts] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert {verdict.parsed for verdict in verdicts} == {"3"}, "six samples for two workers"
    assert {verdict.version for verdict in verdicts} == {"probe.batch@1"}


@pytest.mark.parametrize("bad", ["sleep", "os_exit", "raise", "memory"])
def test_a_broken_batch_is_judged_one_by_one_and_only_the_guilty_pays(judges: Executors, bad: str) -> None:
    verdicts = judge(judges, batch, samples_of("score 0.5", bad, "score 1", "score 0.25"))
    assert [verdict.score for verdict in verdicts] == [0.5, 0.0, 1.0, 0.25]
    assert [verdict.fault for verdict in verdicts] == [None, Fault.POLICY, None, None]


def test_a_batch_that_hangs_costs_its_deadline_twice_and_no_more(judges: Executors) -> None:
    judge(judges, batch, samples_of("score 1", "score 1"))
    started = time.monotonic()
    verdicts = judge(judges, batch, samples_of("sleep", "score 1", group="x"))
    assert [verdict.score for verdict in verdicts] == [0.0, 1.0]
    assert time.monotonic() - started < 6.0


def test_a_group_is_judged_in_one_call_wherever_its_samples_stand(judges: Executors) -> None:
    first, second = samples_of("aa", "a", group="one"), samples_of("b", "bbb", group="two")
    verdicts = judge(judges, group, [first[0], second[0], first[1], second[1]])
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 0.0, 1.0]
    assert [verdict.parsed for verdict in verdicts] == ["aa a", "b bbb", "aa a", "b bbb"]


def test_who_breaks_a_group_is_left_out_of_it_and_the_rest_is_a_group(judges: Executors) -> None:
    verdicts = judge(judges, group, samples_of("aa", "os_exit with much to say", "a"))
    assert [verdict.fault for verdict in verdicts] == [None, Fault.POLICY, None]
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 0.0], "the longest of those that are left"
    assert verdicts[0].parsed == "aa a"


def test_a_group_that_breaks_though_nobody_is_guilty_alone_gets_one_score(judges: Executors) -> None:
    together = judge(judges, group_inline, samples_of("only together", "only together"))
    assert [(verdict.fault, verdict.score) for verdict in together] == [(Fault.POLICY, 0.0)] * 2
    all_bad = judge(judges, group_inline, samples_of("bad", "bad"))
    assert [(verdict.fault, verdict.score) for verdict in all_bad] == [(Fault.POLICY, 0.0)] * 2


def test_a_group_killed_from_outside_is_an_infra_fault_for_all_and_tried_once_more(judges: Executors, tmp_path) -> None:
    once = samples_of("a", f"killed_once {tmp_path / 'marker'}")
    assert [verdict.fault for verdict in judge(judges, group, once)] == [None, None]
    always = judge(judges, group, samples_of("a", "killed"))
    assert [(verdict.fault, verdict.score) for verdict in always] == [(Fault.INFRA, None)] * 2


def test_a_worker_is_held_by_hard_limits_and_has_one_thread() -> None:
    pool = WorkerPool(limits, workers=1)
    [verdict] = pool.judge(samples_of("x"), params={}, timeout_s=5.0)
    pool.close()
    assert verdict.parsed is not None
    held = json.loads(verdict.parsed)
    assert held["RLIMIT_AS"] == [512 * 2**20] * 2
    assert held["RLIMIT_FSIZE"] == [2**30] * 2
    assert held["RLIMIT_CORE"] == [0, 0]
    soft, hard = held["RLIMIT_CPU"]
    assert 600 <= soft == hard < 10_000
    assert held["threads"] == "1" and ONE_THREAD["RAYON_NUM_THREADS"] == "1"
