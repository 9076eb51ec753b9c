from __future__ import annotations

import math
from typing import Any

import pytest

from rlpost.learner.schedule import learning_rate_at
from rlpost.recipe.sections import OptimizerConfig


def rates(total_steps: int, **config: Any) -> list[float]:
    optimizer = OptimizerConfig(learning_rate=1.0, **config)
    return [learning_rate_at(step, optimizer, total_steps=total_steps) for step in range(total_steps + 2)]


def test_constant_stays() -> None:
    assert rates(3, schedule="constant") == [1.0] * 5


def test_warm_up_rises_in_equal_steps_and_ends_at_the_full_rate() -> None:
    assert rates(10, schedule="constant", warmup_ratio=0.4)[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_share_of_a_warm_up_step_is_a_whole_step() -> None:
    assert rates(10, schedule="constant", warmup_ratio=0.11)[:3] == [0.5, 1.0, 1.0]


def test_a_whole_number_of_warm_up_steps_is_not_rounded_up() -> None:
    assert rates(100, schedule="constant", warmup_ratio=0.07)[5:8] == [6 / 7, 1.0, 1.0]


def test_linear_falls_in_equal_steps_from_the_end_of_warm_up_to_zero_after_the_last_step() -> None:
    expected = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert rates(6, schedule="linear", warmup_ratio=0.3) == pytest.approx(expected)


def test_linear_falls_to_the_least_ratio_and_stays_there() -> None:
    assert rates(4, schedule="linear", min_ratio=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_cosine_falls_along_half_a_wave() -> None:
    quarter, three_quarters = (1 + math.sqrt(0.5)) / 2, (1 - math.sqrt(0.5)) / 2
    expected = [1.0, quarter, 0.5, three_quarters, 0.0, 0.0]
    assert rates(4, schedule="cosine") == pytest.approx(expected)
    assert rates(4, schedule="cosine", min_ratio=0.1) == pytest.approx([0.1 + 0.9 * share for share in expected])
