"""Advantages by hand, and what must hold for any scores."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpost.advantage import Scheme, advantage_of
from rlpost.recipe.stages import AdvantageConfig

SCHEMES = get_args(Scheme)
SCORES = st.lists(st.floats(-10, 10), min_size=1, max_size=8).map(np.array)


def test_grpo_divides_by_the_unbiased_standard_deviation() -> None:
    advantages = advantage_of("grpo")(np.array([0.0, 1.0, 1.0, 0.0]))
    std = np.sqrt(4 * 0.25 / 3)
    np.testing.assert_allclose(advantages, np.array([-0.5, 0.5, 0.5, -0.5]) / (std + 1e-4), rtol=1e-12)


def test_dr_grpo_only_subtracts_the_mean() -> None:
    np.testing.assert_allclose(advantage_of("dr_grpo")(np.array([0.0, 1.0, 5.0])), [-2.0, -1.0, 3.0], rtol=1e-12)


def test_leave_one_out_subtracts_the_mean_of_the_others() -> None:
    np.testing.assert_allclose(advantage_of("leave_one_out")(np.array([0.0, 1.0, 5.0])), [-3.0, -1.5, 4.5], rtol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_group_of_one_has_no_advantage(scheme: Scheme) -> None:
    assert advantage_of(scheme)(np.array([7.0])).tolist() == [0.0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_scores_give_exact_zeros(scheme: Scheme) -> None:
    assert advantage_of(scheme)(np.array([0.1, 0.1, 0.1])).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(scores=SCORES)
def test_advantages_sum_to_zero(scheme: Scheme, scores: np.ndarray) -> None:
    advantages = advantage_of(scheme)(scores)
    assert advantages.shape == scores.shape
    assert abs(advantages.sum()) < 1e-8


@pytest.mark.parametrize("scheme", SCHEMES)
@given(scores=SCORES, shift=st.floats(-100, 100))
def test_shifting_all_scores_changes_nothing(scheme: Scheme, scores: np.ndarray, shift: float) -> None:
    np.testing.assert_allclose(advantage_of(scheme)(scores + shift), advantage_of(scheme)(scores), atol=1e-8)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(scores=SCORES)
def test_a_better_score_never_has_the_smaller_advantage(scheme: Scheme, scores: np.ndarray) -> None:
    order = np.argsort(scores)
    assert (np.diff(advantage_of(scheme)(scores)[order]) >= 0).all()


@given(scores=SCORES)
def test_the_scores_are_left_as_they_were(scores: np.ndarray) -> None:
    before = scores.copy()
    for scheme in SCHEMES:
        advantage_of(scheme)(scores)
    assert (scores == before).all()


def test_recipes_know_the_same_names() -> None:
    assert get_args(AdvantageConfig.model_fields["scheme"].annotation) == SCHEMES
