"""Advantages by hand and by their properties: shifts, order, equal scores, groups that hold too little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_groups import group_of, one_number_a_sample

from rlpost.advantage import advantage_of
from rlpost.interfaces import AdvantageFn
from rlpost.recipe.rl import SCHEMES, AdvantageConfig

BY_GROUP = ["grpo", "dr_grpo", "leave_one_out"]
SCORES = st.lists(st.floats(-10, 10), min_size=1, max_size=8)


def scheme_of(name: Any) -> AdvantageFn:
    return advantage_of(AdvantageConfig(scheme=name))


def of_one_group(name: str, scores: Any, **keys: Any) -> np.ndarray:
    return one_number_a_sample(scheme_of(name)([group_of(scores, **keys)])[0])


def test_grpo_divides_by_the_unbiased_standard_deviation() -> None:
    std = np.sqrt(4 * 0.25 / 3)
    expected = np.array([-0.5, 0.5, 0.5, -0.5]) / (std + 1e-4)
    np.testing.assert_allclose(of_one_group("grpo", [0.0, 1.0, 1.0, 0.0]), expected, rtol=1e-12)


def test_dr_grpo_only_subtracts_the_mean() -> None:
    np.testing.assert_allclose(of_one_group("dr_grpo", [0.0, 1.0, 5.0]), [-2.0, -1.0, 3.0], rtol=1e-12)


def test_leave_one_out_subtracts_the_mean_of_the_others() -> None:
    np.testing.assert_allclose(of_one_group("leave_one_out", [0.0, 1.0, 5.0]), [-3.0, -1.5, 4.5], rtol=1e-12)


def test_penalties_of_all_tokens_come_off_a_responses_reward() -> None:
    penalties = [[0.5, 0.5], [1.0, -1.0, 0.25]]
    np.testing.assert_allclose(
        of_one_group("dr_grpo", [2.0, 1.0], penalties=penalties), [(1.0 - 0.75) / 2, (0.75 - 1.0) / 2], rtol=1e-12
    )


def test_every_token_of_a_response_has_its_advantage() -> None:
    first, second = scheme_of("dr_grpo")([group_of([0.0, 1.0], lengths=[3, 1]), group_of([4.0, 2.0], lengths=[1, 2])])
    assert [values.tolist() for values in first] == [[-0.5] * 3, [0.5]]
    assert [values.tolist() for values in second] == [[1.0], [-1.0] * 2]


def test_reinforce_plus_plus_is_its_formula() -> None:
    groups = [
        group_of([1.0, 0.0], penalties=[[0.1, 0.2, -0.3], [0.4]]),
        group_of([2.0], penalties=[[0.0, 0.5]]),
    ]
    returns = [[1.0 - 0.0, 1.0 + 0.1, 1.0 + 0.3], [-0.4], [1.5, 1.5]]
    flat = [value for row in returns for value in row]
    expected = [(value - np.mean(flat)) / np.sqrt(np.var(flat) + 1e-8) for value in flat]
    advantages = scheme_of("reinforce_plus_plus")(groups)
    assert [len(rows) for rows in advantages] == [2, 1]
    np.testing.assert_allclose(np.concatenate([row for rows in advantages for row in rows]), expected, atol=1e-12)


def test_reinforce_plus_plus_baseline_takes_the_groups_mean_off_the_scores() -> None:
    groups = [
        group_of([1.0, 0.0], penalties=[[0.1, 0.2], [0.4]]),
        group_of([9.0], penalties=[[0.0, 0.5]]),
        group_of([2.0, 5.0], penalties=[[0.0], [0.0, 0.0]]),
    ]
    returns = [[0.5 - 0.3, 0.5 - 0.2], [-0.5 - 0.4], [-1.5], [1.5, 1.5]]
    flat = [value for row in returns for value in row]
    expected = [(value - np.mean(flat)) / np.sqrt(np.var(flat) + 1e-8) for value in flat]
    first, alone, last = scheme_of("reinforce_plus_plus_baseline")(groups)
    assert alone[0].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(np.concatenate([*first, *last]), expected, atol=1e-12)


def test_reinforce_plus_plus_compares_over_groups_and_its_baseline_within_them() -> None:
    easy, hard = group_of([1.0, 1.0]), group_of([0.0, 1.0])
    plain = scheme_of("reinforce_plus_plus")([easy, hard])
    baseline = scheme_of("reinforce_plus_plus_baseline")([easy, hard])
    assert all((values > 0).all() for values in plain[0])
    assert all((values == 0).all() for values in baseline[0])


@pytest.mark.parametrize("scheme", [*BY_GROUP, "reinforce_plus_plus_baseline"])
def test_a_group_of_one_has_no_advantage(scheme: str) -> None:
    first, second = scheme_of(scheme)([group_of([7.0]), group_of([0.0, 3.0])])
    assert first[0].tolist() == [0.0, 0.0]
    assert (second[1] > 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("scores", [[0.1], [0.1, 0.1, 0.1]])
def test_a_step_in_which_all_is_equal_gives_exact_zeros(scheme: str, scores: list[float]) -> None:
    for rows in scheme_of(scheme)([group_of(scores), group_of(scores)]):
        assert [values.tolist() for values in rows] == [[0.0, 0.0]] * len(scores)


@pytest.mark.parametrize("scheme", BY_GROUP)
def test_equal_scores_give_exact_zeros_whatever_other_groups_hold(scheme: str) -> None:
    first, _ = scheme_of(scheme)([group_of([0.1, 0.1, 0.1]), group_of([0.0, 3.0])])
    assert [values.tolist() for values in first] == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_groups_that_are_empty_stay_empty(scheme: str) -> None:
    assert scheme_of(scheme)([]) == []
    assert scheme_of(scheme)([group_of([]), group_of([])]) == [[], []]
    assert [len(rows) for rows in scheme_of(scheme)([group_of([]), group_of([0.0, 1.0])])] == [0, 2]


@pytest.mark.parametrize("scheme", BY_GROUP)
@given(scores=SCORES)
def test_advantages_sum_to_zero(scheme: str, scores: list[float]) -> None:
    advantages = of_one_group(scheme, scores)
    assert len(advantages) == len(scores)
    assert abs(advantages.sum()) < 1e-8


@pytest.mark.parametrize("scheme", SCHEMES)
@given(scores=st.lists(st.integers(-10, 10), min_size=1, max_size=8), shift=st.integers(-100, 100))
def test_shifting_all_scores_changes_nothing(scheme: str, scores: list[int], shift: int) -> None:
    shifted = of_one_group(scheme, [score + shift for score in scores])
    np.testing.assert_allclose(shifted, of_one_group(scheme, scores), atol=1e-8)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(scores=SCORES)
def test_a_better_score_never_has_the_smaller_advantage(scheme: str, scores: list[float]) -> None:
    order = np.argsort(scores)
    assert (np.diff(of_one_group(scheme, scores)[order]) >= 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
@given(scores=SCORES)
def test_what_came_in_is_left_as_it_was(scheme: str, scores: list[float]) -> None:
    group = group_of(scores, penalties=[[0.5, 0.25]] * len(scores))
    scheme_of(scheme)([group])
    assert group.scores_G.tolist() == scores
    assert [values.tolist() for values in group.penalties_GT] == [[0.5, 0.25]] * len(scores)


def test_scores_that_are_normalised_already_are_not_divided_again() -> None:
    config = AdvantageConfig(combine="normalise_then_sum", parts={"right": 1.0})
    advantages = one_number_a_sample(advantage_of(config)([group_of([-3.0, 1.0, 2.0])])[0])
    assert advantages.tolist() == [-3.0, 1.0, 2.0]
