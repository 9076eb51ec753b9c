"""Weights and denominator together give the mean that the name promises."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from rlpost.losses.normalisation import Normalisation, denominator, row_weight
from rlpost.recipe.rl import CispoConfig, GspoConfig, PluginLossConfig, PpoClipConfig

ROWS = [np.array([1.0, 2.0, 6.0]), np.array([4.0])]
"""Losses of the tokens of two rows."""


def normalised(normalisation: Normalisation) -> float:
    total = sum(row_weight(normalisation, len(row)) * row.sum() for row in ROWS)
    return total / denominator(normalisation, token_count=4, row_count=2, max_tokens=10)


def test_token_is_one_mean_over_all_tokens() -> None:
    assert normalised("token") == pytest.approx(13 / 4)


def test_sequence_is_the_mean_of_the_means_of_rows() -> None:
    assert normalised("sequence") == pytest.approx((3.0 + 4.0) / 2)


def test_sequence_sum_is_the_mean_of_the_sums_of_rows() -> None:
    assert normalised("sequence_sum") == pytest.approx((9.0 + 4.0) / 2)


def test_constant_divides_by_the_room_that_the_rows_had() -> None:
    assert normalised("constant") == pytest.approx(13 / 20)


def test_a_row_without_tokens_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="at least one"):
        row_weight("sequence", 0)


@pytest.mark.parametrize("config", [PpoClipConfig, GspoConfig, CispoConfig, PluginLossConfig])
def test_recipes_know_the_same_names(config: Any) -> None:
    assert get_args(config.model_fields["normalisation"].annotation) == get_args(Normalisation)
