from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

import pytest
from fakes import SAMPLING, FakeGenerator, FakeScorer, make_prompt, never_pauses
from in_order import in_order

from rlpost.errors import DataError, DeadlineError
from rlpost.records import Fault, Prompt, RolloutGroup, Sample, Verdict
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.collector import Collector
from rlpost.rollout.collector_thread import CollectorThread
from rlpost.rollout.ledger import PromptLedger
from rlpost.rollout.quarantine import Quarantine


def never(index: int) -> Prompt:
    raise AssertionError(f"prompt {index} was not to be issued")


@contextmanager
def filling(
    generator: FakeGenerator,
    scorer: FakeScorer | None = None,
    *,
    prompt_of: Callable[[int], Prompt] = make_prompt,
    keep: Callable[[RolloutGroup], str | None] = lambda group: None,
    prompts_per_step: int = 2,
    stall_timeout_s: float = 20,
    quarantine: Quarantine | None = None,
) -> Iterator[tuple[RolloutBuffer, CollectorThread]]:
    buffer = RolloutBuffer(
        prompts_per_step=prompts_per_step,
        max_staleness=0,
        version=0,
        last_version=10**6,
        ledger=PromptLedger(),
        order=in_order(),
    )
    collector = Collector(
        generator,
        scorer or FakeScorer(),
        samples=3,
        sampling=SAMPLING,
        seed="0/grpo",
        stall_timeout_s=stall_timeout_s,
        breaker=never_pauses(),
    )
    thread = CollectorThread(
        collector,
        buffer,
        prompt_of=prompt_of,
        keep=keep,
        quarantine=Quarantine(None) if quarantine is None else quarantine,
    )
    thread.start()
    try:
        yield buffer, thread
    finally:
        thread.stop()


def test_a_thread_fills_the_buffer_step_by_step() -> None:
    generator = FakeGenerator()
    with filling(generator) as (buffer, _):
        assert [group.index for group in buffer.take(version=0, timeout_s=10)] == [0, 1]
        time.sleep(0.1)
        assert len(generator.requests) == 2 * 3, "nothing is issued for the next step before its weights are there"
        generator.version = 1
        buffer.advance(1)
        assert [group.index for group in buffer.take(version=1, timeout_s=10)] == [2, 3]


def test_a_group_whose_reference_cannot_be_read_is_set_aside_and_replaced() -> None:
    def verdict(sample: Sample) -> Verdict:
        bad = sample.id == "1:sums/1#2"
        return Verdict(fault=Fault.GOLD, reason="empty") if bad else Verdict(score=1.0)

    quarantine = Quarantine(None)
    with filling(FakeGenerator(), FakeScorer(verdict), prompts_per_step=3, quarantine=quarantine) as (buffer, _):
        assert [group.index for group in buffer.take(version=0, timeout_s=10)] == [0, 2, 3]
        assert "sums/1" in quarantine and len(quarantine) == 1
        assert buffer.cut().state["dropped"] == {"gold fault": 1}


def test_an_exception_of_the_generator_surfaces_where_the_step_waits() -> None:
    with filling(FakeGenerator(fail_at=4)) as (buffer, _), pytest.raises(RuntimeError, match="the engine died"):
        buffer.take(version=0, timeout_s=10)


def test_an_exception_of_the_scorer_surfaces_where_the_step_waits() -> None:
    def broken(sample: Sample) -> Verdict:
        raise ValueError(f"no route for {sample.dataset}")

    with filling(FakeGenerator(), FakeScorer(broken)) as (buffer, _), pytest.raises(ValueError, match="no route for"):
        buffer.take(version=0, timeout_s=10)


def test_an_exception_of_the_prompt_order_surfaces_where_the_step_waits() -> None:
    with filling(FakeGenerator(), prompt_of=never) as (buffer, _), pytest.raises(AssertionError, match="prompt 0"):
        buffer.take(version=0, timeout_s=10)


def test_a_stalled_engine_surfaces_where_the_step_waits() -> None:
    with (
        filling(FakeGenerator(manual=True), stall_timeout_s=0.2) as (buffer, _),
        pytest.raises(DeadlineError, match="waiting for 2 groups"),
    ):
        buffer.take(version=0, timeout_s=10)


def test_stopping_ends_the_thread_at_once_even_while_it_waits_for_room() -> None:
    thresholds = gc.get_threshold()
    with filling(FakeGenerator()) as (buffer, thread):
        buffer.take(version=0, timeout_s=10)
        assert gc.get_threshold()[0] > thresholds[0]
    assert not thread._thread.is_alive()
    assert gc.get_threshold() == thresholds


def test_a_group_that_is_not_kept_is_dropped_with_its_reason_and_replaced() -> None:
    keep = lambda group: "too easy" if group.index in (0, 2) else None
    with filling(FakeGenerator(), keep=keep) as (buffer, _):
        assert [group.index for group in buffer.take(version=0, timeout_s=10)] == [1, 3]
        assert buffer.cut().state["dropped"] == {"too easy": 2}


def test_a_probe_is_answered_beside_the_normal_work_and_leaves_no_trace_in_it() -> None:
    generator, scorer = FakeGenerator(), FakeScorer()
    with filling(generator, scorer) as (buffer, thread):
        groups = buffer.take(version=0, timeout_s=10)
        # Nothing is in flight now: the probe must get through all the same.
        first = thread.probe([make_prompt(8), make_prompt(1), make_prompt(8)], max_tokens=2).result(10)
        generator.version = 1
        buffer.advance(1)
        second = thread.probe([make_prompt(0)], max_tokens=3).result(10)
        groups += buffer.take(version=1, timeout_s=10)
        assert [group.index for group in groups] == [0, 1, 2, 3]
        assert buffer.cut().state["trained"] == 4 and buffer.cut().state["dropped"] == {}
    assert [group.prompt.id for group in first] == ["sums/8", "sums/1", "sums/8"]
    assert [group.oldest_version for group in [*first, *second]] == [0, 0, 0, 1]
    assert all(len(group.episodes) == 1 and group.verdicts == () for group in first)
    assert all(group.episodes[0].trained_count <= 2 for group in first)
    assert len(scorer.samples) == 4 * 3, "a probe is not scored"
    asked = [request for request in generator.requests if request.sampling.max_tokens != SAMPLING.max_tokens]
    assert [request.sampling.temperature for request in asked] == [SAMPLING.temperature] * 4
    assert len({request.seed for request in asked}) == 4


def test_a_probe_does_not_outlive_the_thread() -> None:
    generator = FakeGenerator(manual=True)
    with filling(generator, stall_timeout_s=20) as (_, thread):
        waiting = thread.probe([make_prompt(0)], max_tokens=2)
    with pytest.raises(CancelledError):
        waiting.result(10)
    with pytest.raises(CancelledError):
        thread.probe([make_prompt(0)], max_tokens=2).result(10)


def test_a_probe_ends_with_what_ended_the_thread() -> None:
    with (
        filling(FakeGenerator(manual=True), stall_timeout_s=0.2) as (_, thread),
        pytest.raises(DeadlineError, match=r"waiting for 3 groups \(0:sums/0, 1:sums/1, probe 0/0:sums/5"),
    ):
        thread.probe([make_prompt(5)], max_tokens=2).result(10)


@pytest.mark.parametrize("prompts_in_a_row", [256, 257])
def test_a_column_that_holds_no_references_ends_the_run(prompts_in_a_row: int) -> None:
    def verdict(sample: Sample) -> Verdict:
        bad = int(sample.id.split(":")[0]) < prompts_in_a_row
        return Verdict(fault=Fault.GOLD, reason="empty") if bad else Verdict(score=1.0)

    with filling(FakeGenerator(), FakeScorer(verdict), prompts_per_step=1) as (buffer, _):
        if prompts_in_a_row == 256:
            assert [group.index for group in buffer.take(version=0, timeout_s=10)] == [256]
        else:
            with pytest.raises(DataError, match=r"257 prompts in a row .* set data\.sums\.columns\.gold"):
                buffer.take(version=0, timeout_s=10)


def test_a_quarantined_row_is_not_generated_for_again() -> None:
    generator, quarantine = FakeGenerator(), Quarantine(None)
    unreadable = Verdict(fault=Fault.GOLD, reason="empty")
    scorer = FakeScorer(lambda sample: unreadable if sample.id.split("#")[0].endswith("/1") else Verdict(score=1.0))
    three_rows = lambda index: make_prompt(index % 3)
    with filling(generator, scorer, prompt_of=three_rows, prompts_per_step=2, quarantine=quarantine) as (buffer, _):
        assert [group.index for group in buffer.take(version=0, timeout_s=10)] == [0, 2]
        generator.version = 1
        buffer.advance(1)
        assert [group.index for group in buffer.take(version=1, timeout_s=10)] == [3, 5]
        assert buffer.cut().state["dropped"] == {"gold fault": 2}
    assert len(quarantine) == 1
    asked = [request.key[0] for request in generator.requests]
    assert asked.count("1:sums/1") == 3 and "4:sums/1" not in asked


def test_rows_that_are_all_quarantined_end_the_run() -> None:
    quarantine = Quarantine(None)
    quarantine.add(make_prompt(0), Verdict(fault=Fault.GOLD, reason="empty"))
    with (
        filling(FakeGenerator(), prompt_of=lambda index: make_prompt(0), quarantine=quarantine) as (buffer, _),
        pytest.raises(DataError, match=r"257 prompts in a row .* sums/0: empty"),
    ):
        buffer.take(version=0, timeout_s=10)


def test_while_scoring_pauses_nothing_is_issued() -> None:
    generator = FakeGenerator()
    with filling(generator) as (buffer, thread):
        buffer.take(version=0, timeout_s=10)
        thread._collector._breaker.paused = True
        time.sleep(0.1)  # a turn under way ends
        buffer.advance(1)
        time.sleep(0.15)
        assert len(generator.requests) == 2 * 3
        thread._collector._breaker.paused = False
        generator.version = 1
        assert len(buffer.take(version=1, timeout_s=10)) == 2
