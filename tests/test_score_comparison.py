"""Scores that are equal on paper are equal, however they were added up; others are not."""

from __future__ import annotations

from itertools import permutations
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from rlpost.score_comparison import differ, exceeds, reaches

SHARES = st.lists(st.integers(1, 19), min_size=1, max_size=6)


@given(shares=SHARES)
def test_weights_that_add_up_to_a_bound_reach_it_in_every_order_and_never_exceed_it(shares: list[int]) -> None:
    weights = [share / 20 for share in shares]
    sums = [sum(order) for order in permutations(weights)]
    bound = sum(shares) / 20
    assert all(reaches(total, bound) and not exceeds(total, bound) for total in sums)
    assert not differ(sums)


@given(bound=st.floats(-1e6, 1e6), gap=st.floats(1e-6, 1.0))
def test_what_differs_by_more_than_rounding_is_told_apart(bound: float, gap: float) -> None:
    further = gap * max(1.0, abs(bound))
    assert exceeds(bound + further, bound) and not reaches(bound - further, bound)
    assert differ([bound, bound + further])


def test_an_unpaid_score_and_a_lone_one_are_compared_too() -> None:
    assert not reaches(-inf, 1.0)
    assert not differ([]) and not differ([0.3])
