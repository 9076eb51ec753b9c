from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_rows import rows_of, sampler, saved

from rlpost.errors import DataError
from rlpost.recipe.sampler import MixtureConfig

NAMES = "abcdefgh"
SHARES = st.lists(st.floats(0.01, 10), min_size=1, max_size=8)


def furthest_off(taken: list[str], wanted: list[dict[str, float]]) -> float:
    """The largest difference of rows taken and the sum of the shares, over all data sets and prefixes."""
    owed = dict.fromkeys(wanted[0], 0.0)
    worst = 0.0
    for name, shares in zip(taken, wanted, strict=True):
        for other, share in shares.items():
            owed[other] += share - (other == name)
        worst = max(worst, *(abs(one) for one in owed.values()))
    return worst


def names_of(rows: list[int], ids: Any) -> list[str]:
    return [ids[row].partition("/")[0] for row in rows]


@settings(deadline=None)
@given(shares=SHARES, rows_per_step=st.integers(1, 7))
def test_each_data_set_is_less_than_one_row_off_its_share_after_any_number_of_rows(
    shares: list[float], rows_per_step: int
) -> None:
    mix = dict(zip(NAMES, shares, strict=False))
    rows = rows_of(**dict.fromkeys(mix, 5))
    one = sampler({"kind": "mixture", "mix": mix}, rows, rows_per_step=rows_per_step)
    taken = names_of(one.next(300), rows.ids)
    wanted = {name: share / sum(shares) for name, share in mix.items()}
    assert furthest_off(taken, [wanted] * 300) < 1 + 1e-6


POINTS = st.lists(
    st.tuples(st.integers(0, 40), st.floats(0, 5)), min_size=1, max_size=4, unique_by=lambda point: point[0]
)


@settings(deadline=None, max_examples=200)
@given(points=st.lists(POINTS, min_size=1, max_size=6), rows_per_step=st.integers(1, 9))
def test_shares_that_change_over_the_steps_are_kept_to_within_one_row(
    points: list[list[tuple[int, float]]], rows_per_step: int
) -> None:
    mix: dict[str, Any] = {name: sorted(each) for name, each in zip(NAMES, points, strict=False)}
    mix["z"] = 0.5
    config = MixtureConfig.model_validate({"kind": "mixture", "mix": mix})
    rows = rows_of(**dict.fromkeys(mix, 3))
    one = sampler({"kind": "mixture", "mix": mix}, rows, rows_per_step=rows_per_step)
    taken, wanted = [], []
    for step in range(60):
        taken += names_of(one.next(rows_per_step), rows.ids)
        wanted += [config.shares_at(step)] * rows_per_step
        one.observe(())
    assert furthest_off(taken, wanted) < 1 + 1e-6


def test_shares_move_in_a_straight_line_between_the_steps_that_are_written() -> None:
    config = MixtureConfig.model_validate(
        {"kind": "mixture", "mix": {"math": [[10, 0.6], [20, 0.2]], "code": [[0, 0.4], [20, 0.8]]}}
    )
    assert config.shares_at(0) == {"math": 0.6, "code": 0.4}
    assert config.shares_at(15) == pytest.approx({"math": 0.4 / 1.1, "code": 0.7 / 1.1})
    assert config.shares_at(20) == config.shares_at(1000) == pytest.approx({"math": 0.2, "code": 0.8})
    assert config.last_change == 20


def test_each_data_set_goes_through_shuffled_epochs_of_its_own() -> None:
    rows = rows_of(math=6, code=3)
    one = sampler({"kind": "mixture", "mix": {"math": 0.5, "code": 0.5}}, rows)
    taken = one.next(24)
    math, code = [row for row in taken if row < 6], [row for row in taken if row >= 6]
    assert sorted(math[:6]) == sorted(math[6:]) == [0, 1, 2, 3, 4, 5]
    assert [sorted(code[start : start + 3]) for start in (0, 3, 6, 9)] == [[6, 7, 8]] * 4
    # Another companion in place of code leaves the order within math as it is.
    beside = sampler({"kind": "mixture", "mix": {"math": 1, "text": 2}}, rows_of(math=6, text=4))
    assert [row for row in beside.next(36) if row < 6] == math


def test_a_mixture_goes_on_from_its_state_within_a_step() -> None:
    mix = {"math": [[0, 0.6], [4, 0.1]], "code": 0.4, "text": 0.3}
    rows = rows_of(math=6, code=3, text=5)
    whole, first, again = (sampler({"kind": "mixture", "mix": mix}, rows) for _ in range(3))

    def steps(one: Any, begin: int, end: int) -> list[int]:
        taken: list[int] = []
        for place in range(begin, end):
            taken += one.next(1)
            if place % 4 == 3:
                one.observe(())
        return taken

    expected = steps(whole, 0, 30)
    for cut in (0, 6, 7, 8, 21):
        first = sampler({"kind": "mixture", "mix": mix}, rows)
        before = steps(first, 0, cut)
        again = sampler({"kind": "mixture", "mix": mix}, rows)
        again.load(saved(first.state()))
        assert before + steps(again, cut, 30) == expected


def test_a_data_set_with_a_share_and_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"every data set of sampler\.mix must have rows; code has none"):
        sampler({"kind": "mixture", "mix": {"math": 1, "code": [[5, 0], [9, 1]]}}, rows_of(math=2))
    assert Counter(sampler({"kind": "mixture", "mix": {"math": 1, "code": 0}}, rows_of(math=2)).next(4)) == {0: 2, 1: 2}


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"math": 0}, "at step 0 all are 0"),
        ({"math": [[0, 1], [5, 0]], "code": [[3, 1], [8, 0]]}, "at step 8 all are 0"),
        ({"math": [[5, 1], [3, 0]], "code": 1}, r"must grow .* found 5, 3"),
        ({"math": [[0.5, 1]]}, "a step is a whole number; found 0.5"),
        ({"math": [[0, 1, 2]]}, "at most 2 items"),
        ({"math": -1}, "greater than or equal to 0"),
        ({}, "at least 1"),
    ],
)
def test_shares_that_cannot_be_meant_are_refused(mix: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixtureConfig.model_validate({"kind": "mixture", "mix": mix})
