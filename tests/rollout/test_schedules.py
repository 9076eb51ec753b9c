"""What must hold for every schedule of generating, scoring, publishing, training, crashing and resuming."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace

from fakes import SAMPLING, FakeGenerator, FakeScorer, never_pauses
from hypothesis import example, given, settings
from hypothesis import strategies as st
from in_order import InOrder
from rollout_driver import STAGE, Run, Setting, WatchedLedger, assert_whole, judge, own_scores, prompt_at

from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.collector import Collector
from rlpost.rollout.collector_thread import CollectorThread
from rlpost.rollout.dynamic_sampling import SignalFilter
from rlpost.rollout.issue_order import IssueOrder
from rlpost.rollout.ledger_audit import audit, compare
from rlpost.rollout.quarantine import Quarantine

STEPS = ("work", "take", "pull", "announce")
EVENTS = (*STEPS, *STEPS, "work", "overtake", "overtake", "overtake", "collect", "finish", "score", "save", "crash")
"""Drawn evenly; what steps are made of comes oftener, so that a schedule gets somewhere."""
SETTINGS = st.builds(
    Setting,
    per_step=st.integers(1, 3),
    samples=st.integers(1, 3),
    bound=st.integers(0, 5),
    max_refill=st.sampled_from([None, 0.5, 2.0]),
    equal_scores=st.booleans(),
    gold_faults=st.booleans(),
    infra_faults=st.booleans(),
)
SCHEDULES = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 99)), min_size=20, max_size=80)


def play(run: Run, schedule: list[tuple[str, int]], *, until: int) -> None:
    for event, luck in schedule:
        if event in ("finish", "work"):
            getattr(run, event)(luck)
        elif event not in ("take", "overtake") or run.learner < until:
            getattr(run, event)()


def contents(run: Run) -> list[list[tuple[object, ...]]]:
    return [
        [
            (
                group.index,
                group.prompt.id,
                group.verdicts,
                *(episode.trajectories[0].token_ids.tobytes() for episode in group.episodes),
            )
            for group in batch
        ]
        for batch in run.history.batches
    ]


@settings(max_examples=150, deadline=None)
@given(setting=SETTINGS, schedule=SCHEDULES)
def test_every_prompt_ends_trained_in_time_or_dropped_with_a_reason(setting: Setting, schedule) -> None:
    run = Run(setting)
    play(run, schedule, until=1_000)
    # Whatever the schedule left behind, the run goes on; so nothing is stuck, and all that was issued comes to an end.
    issued = max(run.ledger.issued, default=0)
    for _ in range(2 * setting.bound + 3):
        run.pull()
        run.announce()
        run.step_in_order()
    run.check_account()
    assert run.ledger.state()["first_open"] > issued


@settings(max_examples=80, deadline=None)
@given(setting=SETTINGS, schedule=SCHEDULES)
@example(
    setting=Setting(per_step=2, samples=2, bound=0, max_refill=2.0, equal_scores=True),
    # Prompts are dropped between the take and the late save of its step.
    schedule=[*[("work", 1)] * 9, ("take", 0), ("pull", 0), ("announce", 0), ("work", 1), ("save", 0), ("crash", 0)],
)
def test_at_staleness_0_every_schedule_takes_the_same_batches(setting: Setting, schedule) -> None:
    setting, steps = replace(setting, bound=0), 4
    plain, other = Run(setting), Run(setting)
    for _ in range(steps):
        plain.step_in_order()
    play(other, schedule, until=steps)
    while other.learner < steps:
        other.pull()
        other.announce()
        other.step_in_order()
    assert contents(plain) == contents(other)


@settings(max_examples=100, deadline=None)
@given(setting=SETTINGS, schedule=SCHEDULES)
def test_the_journal_of_any_run_proves_that_nothing_is_lost_and_nothing_trained_twice(
    setting: Setting, schedule
) -> None:
    run = Run(setting)
    play(run, schedule, until=1_000)
    if run.saved is None:
        run.pull()
        run.announce()
        run.step_in_order()
        run.save()
        run.crash()
    saved = run.saved_ledger()
    assert saved is not None and compare(run.journal_so_far(), saved) == []
    under_way = audit(run.journal_so_far(), run.rules(), is_finished=False)
    ended = audit(run.journal_so_far(ended=True), run.rules(), is_finished=True)
    assert under_way.findings == ended.findings == []
    assert (ended.steps, ended.trained) == (run.learner, len(run.history.trained))
    assert ended.dropped == Counter(run.history.dropped.values())


@settings(max_examples=60, deadline=None)
@given(setting=SETTINGS, schedule=SCHEDULES)
def test_filtering_leaves_out_no_more_than_its_limit(setting: Setting, schedule) -> None:
    setting = replace(setting, equal_scores=True, gold_faults=False, max_refill=2.0)
    run = Run(setting)
    play(run, [event for event in schedule if event[0] != "crash"], until=1_000)
    for _ in range(3):
        run.pull()
        run.announce()
        run.step_in_order()
    left_out = run.ledger.dropped.get("no signal", 0)
    # Besides what a step's own prompts may lose, those that were open before the first take count for that one.
    assert left_out <= (run.learner + 1) * (2.0 + setting.bound + 1) * setting.per_step
    if setting.bound == 0:
        assert left_out == run.learner * 2.0 * setting.per_step


def test_with_real_threads_the_same_holds() -> None:
    setting = Setting(per_step=4, samples=3, bound=2, max_refill=1.0, gold_faults=True, infra_faults=True)
    rng, steps, ledger = random.Random(5), 40, WatchedLedger()
    generator = FakeGenerator(latency_s=lambda request: rng.choice([0.0, 0.001, 0.01]))
    sampler = InOrder()
    buffer = RolloutBuffer(
        prompts_per_step=4, max_staleness=2, version=0, last_version=10**6, ledger=ledger, order=IssueOrder(sampler)
    )
    collector = Collector(
        generator,
        FakeScorer(judge(setting)),
        samples=3,
        sampling=SAMPLING,
        seed=STAGE,
        stall_timeout_s=20,
        breaker=never_pauses(),
    )
    thread = CollectorThread(
        collector,
        buffer,
        prompt_of=prompt_at,
        keep=SignalFilter(buffer, max_refill=1.0, scores=own_scores),
        quarantine=Quarantine(None),
    )
    trained: list[int] = []

    def publish(version: int) -> None:
        generator.version = version
        buffer.advance(version)

    publishing = threading.Thread(target=lambda: None)
    publishing.start()
    thread.start()
    try:
        for step in range(steps):
            batch = buffer.take(version=step, timeout_s=10)
            for group in batch:
                assert_whole(group, setting)
                assert step - group.oldest_version <= 2
            trained += [group.index for group in batch]
            publishing.join()
            publishing = threading.Timer(rng.choice([0.0, 0.005]), publish, (step + 1,))
            publishing.start()
    finally:
        thread.stop()
        publishing.join()
    state = buffer.cut().state
    assert len(trained) == len(set(trained)) == state["trained"] == steps * 4
    assert set(state["dropped"]) == {"no signal", "gold fault"}
    finished = {*range(state["first_open"]), *state["finished_above"]}
    assert finished == {*trained, *ledger.dropped_here} and not set(trained) & set(ledger.dropped_here)
    assert len(ledger.issued) == len(set(ledger.issued)), "a prompt was issued twice"
    assert sampler.observed == [sorted(step) for step in sampler.observed] and len(sampler.observed) == steps
    observed = [index for step in sampler.observed for index in step]
    assert len(observed) == len(set(observed)) and set(trained) <= set(observed) <= set(ledger.issued)
    assert min(ledger.issued) == 0 and max(ledger.issued) == len(ledger.issued) - 1
