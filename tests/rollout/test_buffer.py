from __future__ import annotations

import threading
import time

import pytest
from fakes import make_group, scored
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rlpost.errors import DeadlineError
from rlpost.rollout.buffer import RolloutBuffer


def buffer_of(*, prompts_per_step: int = 2, max_staleness: int = 0, version: int = 0, first_index: int = 0):
    return RolloutBuffer(
        prompts_per_step=prompts_per_step, max_staleness=max_staleness, version=version, first_index=first_index
    )


def put(buffer: RolloutBuffer, *indices: int, version: int = 0) -> None:
    for index in indices:
        buffer.put(make_group(scored(0, 1), index=index, version=version))


class AnySchedule(RuleBasedStateMachine):
    """Whatever order groups finish, are dropped, and steps go on in, held against a model that is told everything."""

    @initialize(per_step=st.integers(1, 3), bound=st.integers(0, 4), first=st.sampled_from([0, 7]))
    def start(self, per_step: int, bound: int, first: int) -> None:
        self.per_step, self.bound, self.version, self.first_version = per_step, bound, first, first
        self.buffer = buffer_of(
            prompts_per_step=per_step, max_staleness=bound, version=first, first_index=first * per_step
        )
        self.issued_at: dict[int, int] = {}
        self.running: set[int] = set()
        self.ready: set[int] = set()
        self.kept = 0
        self.trained: list[int] = []
        self.may_take = True

    @rule()
    def issue(self) -> None:
        indices = self.buffer.reserve(timeout_s=0)
        assert not set(indices) & set(self.issued_at), "an index was given twice"
        assert not indices or indices[0] > max(self.issued_at, default=-1), "indices only grow"
        self.issued_at.update(dict.fromkeys(indices, self.version))
        self.running |= set(indices)
        self.kept += len(indices)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish_one(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(index)
        self.ready.add(index)
        put(self.buffer, index, version=self.issued_at[index])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def quarantine_one(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(index)
        self.buffer.drop(index)
        self.kept -= 1

    @precondition(lambda self: self.may_take)
    @rule()
    def take(self) -> None:
        oldest = sorted(self.running | self.ready)[: self.per_step]
        if len(oldest) < self.per_step or not set(oldest) <= self.ready:
            with pytest.raises(DeadlineError):
                self.buffer.take(self.per_step, timeout_s=0)
            return
        groups = self.buffer.take(self.per_step, timeout_s=0)
        assert [group.index for group in groups] == oldest, "groups come in the order of issue"
        assert all(self.version - self.issued_at[index] <= self.bound for index in oldest), "a group is too old"
        self.ready -= set(oldest)
        self.trained += oldest
        self.may_take = False

    @precondition(lambda self: not self.may_take)
    @rule()
    def advance(self) -> None:
        self.version += 1
        self.buffer.advance(self.version)
        self.may_take = True

    def _capacity(self) -> int:
        return (self.version - self.first_version + 1 + self.bound) * self.per_step

    @invariant()
    def capacity_is_never_exceeded(self) -> None:
        if hasattr(self, "buffer"):
            assert self.kept <= self._capacity()
            assert self.trained == sorted(set(self.trained)), "a group was trained twice or out of order"


TestAnySchedule = AnySchedule.TestCase


@pytest.mark.parametrize("bound", [0, 1, 2, 3, 4])
def test_prompts_are_issued_at_most_the_bound_ahead(bound: int) -> None:
    buffer = buffer_of(prompts_per_step=2, max_staleness=bound)
    assert list(buffer.reserve(timeout_s=0)) == list(range(2 * (1 + bound)))
    for step in range(3):
        assert not buffer.reserve(timeout_s=0)
        put(buffer, 2 * step, 2 * step + 1, version=max(0, step - bound))
        buffer.take(2, timeout_s=0)
        assert not buffer.reserve(timeout_s=0), "training makes no room, a new version does"
        buffer.advance(step + 1)
        assert len(buffer.reserve(timeout_s=0)) == 2


def test_a_later_group_does_not_overtake_an_earlier_one() -> None:
    buffer = buffer_of(prompts_per_step=1, max_staleness=1)
    buffer.reserve(timeout_s=0)
    put(buffer, 1)
    with pytest.raises(DeadlineError):
        buffer.take(1, timeout_s=0)
    put(buffer, 0)
    assert [group.index for group in buffer.take(1, timeout_s=0)] == [0]


def test_a_dropped_prompt_is_replaced_and_the_step_keeps_its_size() -> None:
    buffer = buffer_of(prompts_per_step=3)
    assert list(buffer.reserve(timeout_s=0)) == [0, 1, 2]
    put(buffer, 0, 2)
    buffer.drop(1)
    assert list(buffer.reserve(timeout_s=0)) == [3]
    put(buffer, 3)
    assert [group.index for group in buffer.take(3, timeout_s=0)] == [0, 2, 3]


def test_resume_index_is_the_first_prompt_that_no_step_has_taken() -> None:
    buffer = buffer_of(prompts_per_step=2, max_staleness=1, version=3, first_index=6)
    assert buffer.resume_index == 6
    assert list(buffer.reserve(timeout_s=0)) == [6, 7, 8, 9]
    put(buffer, 6, 7, 9, version=3)
    buffer.take(2, timeout_s=0)
    assert buffer.resume_index == 8
    buffer.drop(8)
    assert buffer.resume_index == 9


def test_a_group_that_is_too_old_is_a_bug() -> None:
    buffer = buffer_of(version=5)
    buffer.reserve(timeout_s=0)
    put(buffer, 0, 1, version=4)
    with pytest.raises(AssertionError, match="group 0 is 1 versions old"):
        buffer.take(2, timeout_s=0)


def test_putting_twice_or_without_a_reservation_is_a_bug() -> None:
    buffer = buffer_of()
    with pytest.raises(AssertionError, match="holds no reservation"):
        put(buffer, 0)
    buffer.reserve(timeout_s=0)
    put(buffer, 0)
    with pytest.raises(AssertionError, match="was put twice"):
        put(buffer, 0)


def test_a_failure_surfaces_in_take_even_while_it_waits() -> None:
    buffer = buffer_of()
    threading.Timer(0.05, lambda: buffer.fail(RuntimeError("the scorer broke"))).start()
    with pytest.raises(RuntimeError, match="the scorer broke"):
        buffer.take(2, timeout_s=20)


def test_the_deadline_says_what_is_missing_and_what_to_set() -> None:
    buffer = buffer_of(prompts_per_step=3)
    buffer.reserve(timeout_s=0)
    put(buffer, 1)
    with pytest.raises(DeadlineError) as raised:
        buffer.take(3, timeout_s=0.05)
    assert str(raised.value) == (
        "the step needs 3 scored groups; 1 are ready and none arrived for 0.05 s: look at the rollout actors' logs, "
        "or raise step_timeout_s in the cluster file"
    )


def test_the_deadline_counts_from_the_last_arrival() -> None:
    buffer = buffer_of(prompts_per_step=4)
    buffer.reserve(timeout_s=0)

    def slowly() -> None:
        for index in range(4):
            time.sleep(0.2)
            put(buffer, index)

    threading.Thread(target=slowly).start()
    assert len(buffer.take(4, timeout_s=0.6)) == 4


def test_advance_wakes_a_waiting_reserve() -> None:
    buffer = buffer_of()
    buffer.reserve(timeout_s=0)
    threading.Timer(0.05, lambda: buffer.advance(1)).start()
    assert list(buffer.reserve(timeout_s=20)) == [2, 3]


def test_close_ends_a_waiting_reserve_and_all_later_ones() -> None:
    buffer = buffer_of()
    buffer.reserve(timeout_s=0)
    threading.Timer(0.05, buffer.close).start()
    assert not buffer.reserve(timeout_s=20)
    buffer.advance(1)
    assert not buffer.reserve(timeout_s=0)
