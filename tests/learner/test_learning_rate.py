from __future__ import annotations

import math
from typing import Any

import pytest

from rlpost.learner.schedule import learning_rate_at
from rlpost.recipe.optimizer import OptimizerConfig


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


def test_a_stage_is_warmed_up_again_from_the_rate_at_which_the_one_before_ended() -> None:
    assert rates(8, schedule="constant", warmup_ratio=0.5, start_ratio=0.2)[:5] == pytest.approx([0.4, 0.6, 0.8, 1, 1])


def test_inverse_square_root_is_1_at_the_end_of_the_warm_up_and_never_below_the_least_ratio() -> None:
    found = rates(16, schedule="inverse_sqrt", warmup_ratio=0.25, min_ratio=0.6)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:11] == pytest.approx([math.sqrt(4 / (step + 1)) for step in range(4, 11)])
    assert found[11:] == [0.6] * 7


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5 * (1 + math.cos(math.pi * quarter / 4)) for quarter in range(4)]),
        ("sqrt", [1 - math.sqrt(quarter / 4) for quarter in range(4)]),
    ],
)
def test_wsd_keeps_the_rate_and_anneals_it_over_the_last_steps(shape: str, shares: list[float]) -> None:
    found = rates(10, schedule="wsd", warmup_ratio=0.2, decay_ratio=0.4, decay_shape=shape, min_ratio=0.1)
    expected = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, *(0.1 + 0.9 * share for share in shares), 0.1, 0.1]
    assert found == pytest.approx(expected)


def test_the_infinite_schedule_cools_down_stays_and_anneals() -> None:
    found = rates(
        20,
        schedule="infinite",
        warmup_ratio=0.1,
        cooldown_ratio=0.2,
        constant_ratio=0.4,
        decay_ratio=0.2,
        min_ratio=0.1,
    )
    cooling = [0.4 + 0.6 * 0.5 * (1 + math.cos(math.pi * quarter / 4)) for quarter in range(4)]
    annealing = [0.4 - 0.3 * quarter / 4 for quarter in range(4)]
    assert found == pytest.approx([0.5, 1.0, *cooling, *[0.4] * 10, *annealing, 0.1, 0.1])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd", "infinite"])
@pytest.mark.parametrize("total", [2, 3, 7, 100])
def test_every_schedule_ends_where_it_was_planned_to_end(schedule: str, total: int) -> None:
    found = rates(total, schedule=schedule, warmup_ratio=0.1, min_ratio=0.05)
    assert found[total] == pytest.approx(0.05)
    assert all(0 < rate <= 1 for rate in found)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"schedule": "linear", "decay_ratio": 0.2}, "decay_ratio is for the schedules wsd and infinite"),
        ({"schedule": "wsd", "constant_ratio": 0.2}, "constant_ratio is for the schedules infinite"),
        ({"schedule": "infinite", "warmup_ratio": 0.5, "decay_ratio": 0.4}, "their shares add up to 1.15"),
    ],
)
def test_keys_that_do_not_fit_the_schedule_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OptimizerConfig(learning_rate=1.0, **keys)
