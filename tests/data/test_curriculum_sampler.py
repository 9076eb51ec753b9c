"""The curriculum on a policy whose skill is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from sampled_rows import BROKEN, UNREADABLE, group_of, rows_of, sampler

from rlpost.records import RolloutGroup

SAMPLES = 4


def taken_in(one: Any, steps: int, *, per_step: int, group: Callable[[int], RolloutGroup]) -> list[list[int]]:
    found: list[list[int]] = []
    for _ in range(steps):
        found.append(one.next(per_step))
        one.observe([group(row) for row in found[-1]])
    return found


def solved(passes: int, row: int) -> RolloutGroup:
    return group_of(row, *(float(sample < passes) for sample in range(SAMPLES)))


def test_first_every_row_comes_once_in_the_shuffled_order() -> None:
    one = sampler({"kind": "curriculum", "revisit_share": 0}, rows_of(sums=40))
    taken = taken_in(one, 10, per_step=4, group=lambda row: solved(row % 5, row))
    assert [row for step in taken for row in step] == sampler({"kind": "shuffled"}, rows_of(sums=40)).next(40)


def test_rows_come_as_often_as_they_can_be_learnt_from() -> None:
    # Row 5 k + n is solved by n of 4 samples.
    one = sampler({"kind": "curriculum", "rest_rounds": 8, "newest_share": 1}, rows_of(sums=50))
    taken = taken_in(one, 1_000, per_step=5, group=lambda row: solved(row % 5, row))
    visits = Counter(row % 5 for step in taken for row in step)
    # Intervals of 8, 4/3, 1, 4/3 and 8 rounds.
    weights = {0: 1 / 8, 1: 3 / 4, 2: 1, 3: 3 / 4, 4: 1 / 8}
    for passes, weight in weights.items():
        assert visits[passes] == pytest.approx(5_000 * weight / 2.75, rel=0.05)
    assert all(len(set(step)) == 5 for step in taken), "no row comes twice in a step"


def test_a_row_that_is_always_solved_rests_and_comes_back() -> None:
    one = sampler({"kind": "curriculum", "rest_rounds": 5}, rows_of(sums=10))
    taken = taken_in(one, 60, per_step=2, group=lambda row: solved(4 if row == 3 else 2, row))
    places = [number for number, step in enumerate(taken) if 3 in step]
    # Five rounds of the nine other rows are 22.5 steps; while the first pass goes on, rows are taken again besides.
    assert len(places) >= 3
    assert all(20 <= later - before <= 28 for before, later in pairwise(places))


def test_a_row_that_begins_to_be_solved_comes_often_again() -> None:
    one = sampler({"kind": "curriculum", "rest_rounds": 6, "newest_share": 0.5}, rows_of(sums=8))
    before = taken_in(one, 60, per_step=2, group=lambda row: solved(0 if row == 3 else 2, row))
    after = taken_in(one, 60, per_step=2, group=lambda row: solved(2, row))
    assert sum(3 in step for step in before) <= 4
    assert sum(3 in step for step in after[24:]) >= 8


def test_while_some_rows_were_not_seen_a_share_goes_to_those_that_were_solved_sometimes() -> None:
    one = sampler({"kind": "curriculum", "revisit_share": 0.25}, rows_of(sums=1_000))
    taken = taken_in(one, 50, per_step=8, group=lambda row: solved(row % 5, row))
    rows = [row for step in taken for row in step]
    revisits = [row for place, row in enumerate(rows) if row in rows[:place]]
    assert len(revisits) == pytest.approx(0.25 * 400, abs=4)
    assert {row % 5 for row in revisits} == {1, 2, 3}


def test_when_nothing_is_solved_rows_still_come_in_turn() -> None:
    one = sampler({"kind": "curriculum"}, rows_of(sums=12))
    taken = taken_in(one, 30, per_step=4, group=lambda row: solved(0, row))
    assert set(Counter(row for step in taken for row in step).values()) == {10}


def test_a_simulated_policy_learns_twice_as_fast_as_in_shuffled_order() -> None:
    def skill_after(kind: str, *, steps: int) -> float:
        """Rows are of difficulty 0 to 10; those that are near the policy's skill are solved sometimes, and raise it."""
        one, skill = sampler({"kind": kind}, rows_of(sums=100)), 0.0
        for _ in range(steps):
            rows = one.next(8)
            passes = {row: round(4 * min(1.0, max(0.0, 0.5 + (skill - row / 10) / 2))) for row in rows}
            one.observe([solved(passes[row], row) for row in rows])
            skill += sum(0 < passes[row] < 4 for row in rows) / 32
        return skill

    shuffled, curriculum = skill_after("shuffled", steps=60), skill_after("curriculum", steps=60)
    assert curriculum > 2 * shuffled > 2


def test_a_row_under_way_comes_again_only_when_all_are() -> None:
    one = sampler({"kind": "curriculum"}, rows_of(sums=3))
    first = one.next(3)
    assert sorted(first) == [0, 1, 2]
    assert one.next(4) == [*first, first[0]]
    one.observe([solved(2, first[1]), solved(2, first[1])])
    assert one.next(1) == [first[1]]


def test_a_row_whose_reference_cannot_be_read_never_comes_again() -> None:
    one = sampler({"kind": "curriculum"}, rows_of(sums=6))
    taken = taken_in(
        one, 40, per_step=2, group=lambda row: group_of(row, verdicts=[UNREADABLE]) if row == 2 else solved(2, row)
    )
    assert sum(2 in step for step in taken) == 1


def test_what_no_judge_scored_changes_no_pass_rate() -> None:
    one = sampler({"kind": "curriculum"}, rows_of(sums=2))
    rows = one.next(2)
    one.observe([group_of(rows[0], verdicts=[BROKEN, BROKEN]), group_of(rows[1], 1.0, 0.0)])
    assert {row: rate for row, _, _, rate in one.state()["taken"]} == {rows[0]: None, rows[1]: 0.5}


def test_a_pass_is_a_score_of_at_least_the_score_that_is_set() -> None:
    one = sampler({"kind": "curriculum", "pass_score": 0.7}, rows_of(sums=1))
    one.observe([group_of(row, 0.6, 0.7, 0.8, 0.0) for row in one.next(1)])
    assert one.state()["taken"][0][3] == 0.5
