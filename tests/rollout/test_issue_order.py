from __future__ import annotations

import json

import pytest
from fake_generator import SAMPLING
from fakes import FakeGenerator, FakeScorer, make_group, make_prompt, never_pauses, scored
from in_order import InOrder

from rlpost.records import Fault, Sample, Verdict
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.collector import Collector
from rlpost.rollout.collector_thread import CollectorThread
from rlpost.rollout.issue_order import IssueOrder
from rlpost.rollout.ledger import PromptLedger
from rlpost.rollout.quarantine import Quarantine


def resumed(state: dict[str, object]) -> tuple[IssueOrder, InOrder]:
    sampler = InOrder()
    order = IssueOrder(sampler)
    order.load(json.loads(json.dumps(state)))
    return order, sampler


def test_an_open_index_keeps_its_row_over_a_resume_and_new_ones_get_the_next_rows() -> None:
    sampler = InOrder()
    sampler.next(100)  # Rows and indices differ from here on.
    order = IssueOrder(sampler)
    order.issue([0, 1, 2, 3])
    order.finish([0, 2])
    order.end_step()
    again, _ = resumed(order.state())
    again.issue([1, 3, 4])
    assert [again.row_of(index) for index in (1, 3, 4)] == [101, 103, 104]
    with pytest.raises(KeyError):
        again.row_of(0)


def test_the_sampler_is_told_of_each_group_once_in_the_order_of_issue_also_when_it_is_generated_again() -> None:
    sampler = InOrder()
    order = IssueOrder(sampler)
    order.issue([0, 1, 2, 3])
    for index in (2, 0, 1):
        order.note_scored(make_group(scored(0, 1), index=index))
    order.finish([1])  # Left out, for example for want of signal.
    order.end_step()
    order.finish([0])
    assert sampler.observed == [[0, 1, 2]]
    again, told = resumed(order.state())
    again.issue([2, 3])
    for index in (2, 3):
        again.note_scored(make_group(scored(0, 1), index=index))
    again.end_step()
    assert told.observed == [[0, 1, 2], [3]], "group 2 was scored before the state was saved, and again after it"


@pytest.mark.parametrize("known_before", [False, True])
def test_the_sampler_learns_of_an_unreadable_reference_also_where_nothing_is_generated(known_before: bool) -> None:
    faults: dict[int, bool] = {}

    class Watching(InOrder):
        def observe(self, groups) -> None:
            super().observe(groups)
            faults.update({one.index: any(each.fault is Fault.GOLD for each in one.verdicts) for one in groups})

    def verdict(sample: Sample) -> Verdict:
        bad = sample.id.startswith("1:")
        return Verdict(fault=Fault.GOLD, reason="empty") if bad else Verdict(score=1.0)

    quarantine = Quarantine(None)
    if known_before:
        quarantine.add(make_prompt(1), Verdict(fault=Fault.GOLD, reason="empty"))
    buffer = RolloutBuffer(
        prompts_per_step=2,
        max_staleness=0,
        version=0,
        last_version=9,
        ledger=PromptLedger(),
        order=IssueOrder(Watching()),
    )
    collector = Collector(
        FakeGenerator(),
        FakeScorer(verdict),
        samples=2,
        sampling=SAMPLING,
        seed="0/rl",
        stall_timeout_s=20,
        breaker=never_pauses(),
    )
    thread = CollectorThread(collector, buffer, prompt_of=make_prompt, keep=lambda group: None, quarantine=quarantine)
    thread.start()
    try:
        assert [group.index for group in buffer.take(version=0, timeout_s=10)] == [0, 2]
    finally:
        thread.stop()
    assert faults == {0: False, 1: True, 2: False}
