from __future__ import annotations

import threading
import time

import pytest
from fakes import make_group, scored
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from in_order import in_order

from rlpost.errors import DeadlineError
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.ledger import PromptLedger


def buffer_of(
    *,
    prompts_per_step: int = 2,
    max_staleness: int = 0,
    version: int = 0,
    last_version: int = 10**6,
    ledger: PromptLedger | None = None,
) -> RolloutBuffer:
    return RolloutBuffer(
        prompts_per_step=prompts_per_step,
        max_staleness=max_staleness,
        version=version,
        last_version=last_version,
        ledger=PromptLedger() if ledger is None else ledger,
        order=in_order(),
    )


def test_no_prompt_is_issued_that_no_step_would_take() -> None:
    buffer = buffer_of(prompts_per_step=2, max_staleness=4, version=7, last_version=10)
    issued = buffer.reserve(timeout_s=0)
    assert issued == [0, 1, 2, 3, 4, 5], "three steps are left, whatever the bound allows"
    put(buffer, *issued, version=7)
    buffer.take(version=7, timeout_s=1)
    buffer.advance(8)
    assert buffer.reserve(timeout_s=0) == []


def put(buffer: RolloutBuffer, *indices: int, version: int = 0) -> None:
    for index in indices:
        buffer.put(make_group(scored(0, 1), index=index, version=version))


def taken(buffer: RolloutBuffer, *, version: int) -> list[int]:
    return [group.index for group in buffer.take(version=version, timeout_s=0)]


class AnySchedule(RuleBasedStateMachine):
    """Whatever order groups finish, are dropped, and steps go on in, held against a model that is told everything.

    The generators' version may lag behind the learner's; every group is as old as it can be.
    """

    @initialize(per_step=st.integers(1, 3), bound=st.integers(0, 5), first=st.sampled_from([0, 7]))
    def start(self, per_step: int, bound: int, first: int) -> None:
        self.per_step, self.bound, self.first_version = per_step, bound, first
        self.served = self.learner = first
        self.buffer = buffer_of(prompts_per_step=per_step, max_staleness=bound, version=first)
        self.issued_at: dict[int, int] = {}
        self.running: set[int] = set()
        self.ready: set[int] = set()
        self.kept = 0
        self.trained: list[int] = []

    @rule()
    def issue(self) -> None:
        indices = self.buffer.reserve(timeout_s=0)
        assert indices == list(range(len(self.issued_at), len(self.issued_at) + len(indices)))
        self.issued_at.update(dict.fromkeys(indices, self.served))
        self.running |= set(indices)
        self.kept += len(indices)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish_one(self, data: st.DataObject) -> None:
        self._finish(data.draw(st.sampled_from(sorted(self.running))))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def drop_one(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(index)
        self.buffer.drop(index, "no signal")
        self.kept -= 1

    @rule()
    def take(self) -> None:
        expected = self._due()
        if expected is None:
            with pytest.raises(DeadlineError):
                self.buffer.take(version=self.learner, timeout_s=0)
            return
        assert taken(self.buffer, version=self.learner) == expected
        self.ready -= set(expected)
        self.trained += expected
        self.learner += 1

    @precondition(lambda self: self.served >= self.learner - self.bound)
    @rule()
    def take_when_nothing_runs_any_more(self) -> None:
        self.issue()
        for index in sorted(self.running):
            self._finish(index)
        assert self._due() is not None, "some schedule leads to a step that can never be filled"
        self.take()

    @precondition(lambda self: self.served < self.learner)
    @rule()
    def advance(self) -> None:
        self.served += 1
        self.buffer.advance(self.served)

    @invariant()
    def capacity_is_never_exceeded(self) -> None:
        if hasattr(self, "buffer"):
            assert self.kept <= (self.served - self.first_version + 1 + self.bound) * self.per_step
            assert len(self.trained) == len(set(self.trained)), "a group was trained twice"

    @invariant()
    def what_became_of_each_prompt_is_in_the_state(self) -> None:
        if hasattr(self, "buffer"):
            state, unfinished = self.buffer.cut().state, self.running | self.ready
            assert state["first_open"] == min(unfinished, default=len(self.issued_at))
            finished = set(self.issued_at) - unfinished
            assert set(state["finished_above"]) == {index for index in finished if index > state["first_open"]}
            assert (state["trained"], sum(state["dropped"].values())) == (
                len(self.trained),
                len(finished) - len(self.trained),
            )

    def _finish(self, index: int) -> None:
        self.running.remove(index)
        self.ready.add(index)
        put(self.buffer, index, version=self.issued_at[index])

    def _due(self) -> list[int] | None:
        """The definition, word for word."""
        deadline = {index: self.issued_at[index] + self.bound for index in self.running | self.ready}
        chosen = sorted(self.ready, key=lambda index: (deadline[index], index))[: self.per_step]
        left = [deadline[index] for index in deadline.keys() - set(chosen)]
        in_time = all(
            sum(date <= self.learner + steps for date in left) <= steps * self.per_step for steps in range(2 * 5 + 2)
        )
        return sorted(chosen) if len(chosen) == self.per_step and in_time else None


TestAnySchedule = AnySchedule.TestCase
TestAnySchedule.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("bound", [0, 1, 2, 3, 4])
def test_prompts_are_issued_at_most_the_bound_ahead(bound: int) -> None:
    buffer = buffer_of(prompts_per_step=2, max_staleness=bound)
    assert buffer.reserve(timeout_s=0) == list(range(2 * (1 + bound)))
    for step in range(3):
        assert not buffer.reserve(timeout_s=0)
        put(buffer, 2 * step, 2 * step + 1, version=max(0, step - bound))
        buffer.take(version=step, timeout_s=0)
        assert not buffer.reserve(timeout_s=0), "training makes no room, a new version does"
        buffer.advance(step + 1)
        assert len(buffer.reserve(timeout_s=0)) == 2


def test_a_later_group_overtakes_only_while_the_straggler_can_still_be_trained_in_time() -> None:
    buffer = buffer_of(prompts_per_step=1, max_staleness=2)
    assert buffer.reserve(timeout_s=0) == [0, 1, 2]
    put(buffer, 1)
    assert taken(buffer, version=0) == [1]
    put(buffer, 2)
    assert taken(buffer, version=1) == [2]
    buffer.advance(1)
    buffer.advance(2)
    assert buffer.reserve(timeout_s=0) == [3, 4]
    put(buffer, 3, version=2)
    # Version 2 is the last at which group 0 may be trained.
    with pytest.raises(DeadlineError):
        buffer.take(version=2, timeout_s=0)
    put(buffer, 0)
    assert taken(buffer, version=2) == [0]


def test_stragglers_with_one_deadline_need_a_step_each() -> None:
    buffer = buffer_of(prompts_per_step=1, max_staleness=2)
    assert buffer.reserve(timeout_s=0) == [0, 1, 2]
    put(buffer, 2)
    assert taken(buffer, version=0) == [2]
    buffer.advance(1)
    assert buffer.reserve(timeout_s=0) == [3]
    put(buffer, 3, version=1)
    # Groups 0 and 1 must be trained at versions 1 and 2, which leaves no step for group 3.
    with pytest.raises(DeadlineError):
        buffer.take(version=1, timeout_s=0)
    put(buffer, 1)
    assert taken(buffer, version=1) == [1]


def test_at_staleness_0_a_later_group_never_overtakes() -> None:
    buffer = buffer_of(prompts_per_step=2)
    buffer.reserve(timeout_s=0)
    put(buffer, 1)
    with pytest.raises(DeadlineError):
        buffer.take(version=0, timeout_s=0)
    put(buffer, 0)
    assert taken(buffer, version=0) == [0, 1]


def test_the_learner_may_be_ahead_of_what_generators_hold() -> None:
    buffer = buffer_of(prompts_per_step=1, max_staleness=1)
    buffer.reserve(timeout_s=0)
    put(buffer, 0, 1)
    assert [taken(buffer, version=version) for version in (0, 1)] == [[0], [1]]
    # Version 1 is still on its way: nothing may be issued, and nothing that is open could get too old.
    assert not buffer.reserve(timeout_s=0)
    buffer.advance(1)
    assert buffer.reserve(timeout_s=0) == [2]
    put(buffer, 2, version=1)
    assert taken(buffer, version=2) == [2]


def test_a_dropped_prompt_is_replaced_and_the_step_keeps_its_size() -> None:
    buffer = buffer_of(prompts_per_step=3)
    assert buffer.reserve(timeout_s=0) == [0, 1, 2]
    put(buffer, 0, 2)
    buffer.drop(1, "gold fault")
    assert buffer.reserve(timeout_s=0) == [3]
    put(buffer, 3)
    assert taken(buffer, version=0) == [0, 2, 3]


def test_a_resumed_buffer_issues_what_was_open_and_counts_capacity_anew() -> None:
    buffer = buffer_of(prompts_per_step=2, max_staleness=2)
    assert buffer.reserve(timeout_s=0) == [0, 1, 2, 3, 4, 5]
    put(buffer, 1, 4)
    buffer.drop(3, "no signal")
    assert taken(buffer, version=0) == [1, 4]
    resumed = buffer_of(
        prompts_per_step=2, max_staleness=2, version=1, ledger=PromptLedger.from_state(buffer.last_taken.state)
    )
    assert resumed.reserve(timeout_s=0) == [0, 2, 5, 6, 7, 8]
    assert resumed.since_take == buffer.since_take == 6


def test_a_group_that_is_too_old_is_a_bug() -> None:
    buffer = buffer_of(version=5)
    buffer.reserve(timeout_s=0)
    put(buffer, 0, 1, version=4)
    with pytest.raises(AssertionError, match="group 0 is 1 versions old at version 5"):
        buffer.take(version=5, timeout_s=0)


def test_putting_twice_or_without_a_reservation_is_a_bug() -> None:
    buffer = buffer_of()
    with pytest.raises(AssertionError, match="prompt 0 is not open"):
        put(buffer, 0)
    buffer.reserve(timeout_s=0)
    put(buffer, 0)
    with pytest.raises(AssertionError, match="was scored twice"):
        put(buffer, 0)


def test_a_failure_surfaces_in_take_even_while_it_waits() -> None:
    buffer = buffer_of()
    threading.Timer(0.05, lambda: buffer.fail(RuntimeError("the scorer broke"))).start()
    with pytest.raises(RuntimeError, match="the scorer broke"):
        buffer.take(version=0, timeout_s=20)


def test_the_deadline_says_which_prompts_are_missing_and_what_to_set() -> None:
    buffer = buffer_of(prompts_per_step=3)
    buffer.reserve(timeout_s=0)
    put(buffer, 1)
    with pytest.raises(DeadlineError) as raised:
        buffer.take(version=0, timeout_s=0.05)
    assert str(raised.value) == (
        "the step needs 3 scored groups; 1 are ready and none arrived for 0.05 s; still running: 0, 2: look at the "
        "rollout actors' logs, or raise step_timeout_s in the cluster file"
    )


@pytest.mark.parametrize("progress", ["put", "drop"])
def test_the_deadline_counts_from_the_last_arrival(progress: str) -> None:
    buffer = buffer_of(prompts_per_step=4)
    buffer.reserve(timeout_s=0)

    def slowly() -> None:
        for index in range(4):
            time.sleep(0.1)
            if progress == "drop" and index < 3:
                buffer.drop(index, "no signal")
                put(buffer, *buffer.reserve(timeout_s=0))
            else:
                put(buffer, index)

    threading.Thread(target=slowly).start()
    assert len(buffer.take(version=0, timeout_s=0.3)) == 4


def test_advance_wakes_a_waiting_reserve() -> None:
    buffer = buffer_of()
    buffer.reserve(timeout_s=0)
    threading.Timer(0.05, lambda: buffer.advance(1)).start()
    assert buffer.reserve(timeout_s=20) == [2, 3]


def test_a_drop_wakes_a_waiting_reserve() -> None:
    buffer = buffer_of()
    buffer.reserve(timeout_s=0)
    threading.Timer(0.05, lambda: buffer.drop(0, "no signal")).start()
    assert buffer.reserve(timeout_s=20) == [2]


def test_close_ends_a_waiting_reserve_and_all_later_ones() -> None:
    buffer = buffer_of()
    buffer.reserve(timeout_s=0)
    threading.Timer(0.05, buffer.close).start()
    assert not buffer.reserve(timeout_s=20)
    buffer.advance(1)
    assert not buffer.reserve(timeout_s=0)
