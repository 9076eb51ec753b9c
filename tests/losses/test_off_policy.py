"""The proximal policy, and the weights that correct for the policy that sampled, against references by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import gradient_by_autograd, inputs_of, mean_of, single_precision

from rlpost.losses.off_policy import OffPolicy
from rlpost.losses.policy_loss import PolicyLoss
from rlpost.losses.ppo_clip import PpoClip
from rlpost.recipe.rl import OffPolicyConfig

ROWS = [0, 0, 0, 1, 1, 2]
WEIGHTS = [1.2, 3.0, 0.4, 0.97, 1.05, 4.0]
"""proximal / behaviour of six tokens in three rows; products 1.44, 1.0185, 4, geometric means 1.129, 1.0092, 4."""


def correction_weights(correction: Any, *, low: float = 0.0, high: float = math.inf) -> tuple[list[float], list[bool]]:
    proximal = [math.log(weight) - 2 for weight in WEIGHTS]
    inputs = inputs_of([-1.0] * 6, rows=ROWS, proximal=proximal, behaviour=[-2.0] * 6)
    off_policy = OffPolicy(proximal="recompute", correction=correction, low=low, high=high)
    result = off_policy.correct(inputs, proximal_logprobs_T=off_policy.proximal_logprobs(inputs))
    assert result is not None
    return result.weights_T.tolist(), result.changed_T.tolist()


def test_truncate_caps_each_token() -> None:
    weights, changed = correction_weights("truncate", low=0.5, high=2.0)
    assert weights == pytest.approx([1.2, 2.0, 0.5, 0.97, 1.05, 2.0])
    assert changed == [False, True, True, False, False, True]


def test_icepop_masks_tokens_outside_and_keeps_the_weight_inside() -> None:
    weights, changed = correction_weights("icepop", low=0.5, high=2.0)
    assert weights == pytest.approx([1.2, 0.0, 0.0, 0.97, 1.05, 0.0])
    assert changed == [False, True, True, False, False, True]


def test_sequence_truncate_caps_the_product_over_the_row() -> None:
    weights, changed = correction_weights("sequence_truncate", high=1.3)
    assert weights == pytest.approx([1.3] * 3 + [0.97 * 1.05] * 2 + [1.3])
    assert changed == [True] * 3 + [False] * 2 + [True]


def test_sequence_mask_leaves_out_rows_and_weighs_the_others_by_their_product() -> None:
    weights, changed = correction_weights("sequence_mask", low=0.5, high=3.0)
    assert weights == pytest.approx([1.44] * 3 + [0.97 * 1.05] * 2 + [0.0])
    assert changed == [False] * 5 + [True]


def test_geometric_mask_leaves_out_rows_by_their_mean_ratio_and_does_not_weigh_the_others() -> None:
    weights, changed = correction_weights("geometric_mask", low=0.99, high=1.01)
    assert math.sqrt(0.97 * 1.05) == pytest.approx(1.0092, abs=1e-4)
    assert weights == [0.0] * 3 + [1.0] * 2 + [0.0]
    assert changed == [True] * 3 + [False] * 2 + [True]


@pytest.mark.parametrize(
    ("correction", "bounds"),
    [
        ("none", (None, None)),
        ("truncate", (None, 2.0)),
        ("icepop", (0.5, 5.0)),
        ("sequence_truncate", (None, 3.0)),
        ("sequence_mask", (None, 3.0)),
        ("geometric_mask", (0.99, 1.01)),
    ],
)
def test_published_bounds(correction: Any, bounds: tuple[float | None, float | None]) -> None:
    assert OffPolicyConfig(correction=correction).bounds() == bounds


@pytest.mark.parametrize(("proximal", "correction"), [("behaviour", "truncate"), ("recompute", "none")])
def test_without_anything_to_correct_no_weights_are_made(proximal: Any, correction: Any) -> None:
    inputs = inputs_of([-1.0], rows=[0], proximal=[-3.0], behaviour=[-2.0])
    off_policy = OffPolicy(proximal=proximal, correction=correction, low=0.0, high=2.0)
    assert off_policy.correct(inputs, proximal_logprobs_T=off_policy.proximal_logprobs(inputs)) is None


def decoupled(correction: Any, *, low: float, high: float, proximal: Any = "recompute") -> PolicyLoss:
    return PolicyLoss(
        surrogate=PpoClip(clip_low=0.2, clip_high=0.3, dual_clip=None),
        off_policy=OffPolicy(proximal=proximal, correction=correction, low=low, high=high),
        kl=None,
        value=None,
    )


LOGPROB = st.floats(-3, 0)


@settings(deadline=None, max_examples=50)
@given(tokens=st.lists(st.tuples(LOGPROB, LOGPROB, LOGPROB, st.floats(-2, 2)), min_size=1, max_size=8))
def test_the_decoupled_objective_is_its_equation(tokens: list[tuple[float, float, float, float]]) -> None:
    """AReaL, equation 5: proximal / behaviour (capped) times PPO's objective of current / proximal."""
    current, proximal, behaviour, advantages = (list(column) for column in zip(*tokens, strict=True))
    objective = 0.0
    for now, near, then, advantage in tokens:
        ratio = math.exp(now - near)
        clipped = min(ratio * advantage, min(max(ratio, 0.8), 1.3) * advantage)
        objective += min(math.exp(near - then), 2.0) * clipped
    inputs = inputs_of(current, rows=[0] * len(tokens), proximal=proximal, behaviour=behaviour, advantages=advantages)
    total = decoupled("truncate", low=0.0, high=2.0)(inputs).total.item()
    assert total == pytest.approx(-objective, rel=1e-9, abs=1e-12)


def test_a_correction_weight_has_no_gradient_of_its_own() -> None:
    inputs = inputs_of([-1.0], rows=[0], behaviour=[-1.5], mix=[1.0], advantages=[2.0])
    gradient = gradient_by_autograd(decoupled("truncate", low=0.0, high=10.0, proximal="log_linear"), inputs)
    assert gradient.tolist() == pytest.approx([-math.exp(0.5) * 2.0])


def test_a_mask_does_not_shrink_the_sum_of_what_is_left() -> None:
    inputs = inputs_of([-1.0, -1.0], rows=[0, 1], proximal=[-1.0, -1.0], behaviour=[-1.0, -9.0], advantages=[3.0, 3.0])
    sums = decoupled("icepop", low=0.5, high=5.0)(inputs)
    assert sums.total.item() == pytest.approx(-3.0)
    assert mean_of(sums, "corrected_fraction") == 0.5
    assert mean_of(sums, "correction_mean") == 0.5


def test_log_linear_is_between_behaviour_and_current() -> None:
    inputs = inputs_of([-1.0] * 3, rows=[0] * 3, behaviour=[-3.0] * 3, mix=[0.0, 0.25, 1.0])
    off_policy = OffPolicy(proximal="log_linear", correction="none", low=0.0, high=math.inf)
    assert off_policy.proximal_logprobs(inputs).tolist() == [-3.0, -2.5, -1.0]


@settings(deadline=None, max_examples=30)
@given(pairs=st.lists(st.tuples(st.floats(-30, 0), st.floats(-30, 0)), min_size=1, max_size=40))
def test_with_a_mix_of_one_the_ratio_is_one_to_the_last_bit_in_float32(pairs: list[tuple[float, float]]) -> None:
    current, behaviour = (list(column) for column in zip(*pairs, strict=True))
    inputs = single_precision(
        inputs_of(
            current, rows=[0] * len(pairs), behaviour=behaviour, mix=[1.0] * len(pairs), advantages=[2.0] * len(pairs)
        )
    )
    loss = decoupled("none", low=0.0, high=math.inf, proximal="log_linear")
    assert float(loss(inputs).means["ratio_mean"][0]) == len(pairs)
    assert gradient_by_autograd(loss, inputs).tolist() == [-2.0] * len(pairs)


@pytest.mark.parametrize("proximal", ["log_linear", "current"])
def test_a_mix_of_one_and_the_current_policy_equal_recompute_at_the_first_step(proximal: Any) -> None:
    inputs = inputs_of(
        [-1.0, -2.0], rows=[0, 0], behaviour=[-1.5, -1.0], proximal=[-1.0, -2.0], mix=[1.0, 1.0], advantages=[1.0, -2.0]
    )
    recompute = decoupled("truncate", low=0.0, high=2.0)
    other = replace(recompute, off_policy=replace(recompute.off_policy, proximal=proximal))
    assert other(inputs).total.item() == recompute(inputs).total.item()
    assert gradient_by_autograd(other, inputs).equal(gradient_by_autograd(recompute, inputs))


@pytest.mark.parametrize("correction", ["truncate", "icepop", "sequence_truncate", "sequence_mask", "geometric_mask"])
@pytest.mark.parametrize(("near", "then"), [(-1e4, -0.1), (-0.1, -1e4)])
def test_extreme_weights_stay_finite_in_float32(correction: Any, near: float, then: float) -> None:
    inputs = single_precision(
        inputs_of([near] * 3, rows=[0] * 3, proximal=[near] * 3, behaviour=[then] * 3, advantages=[1.0] * 3)
    )
    loss = decoupled(correction, low=0.0, high=math.inf)
    assert loss(inputs).total.isfinite()
    assert gradient_by_autograd(loss, inputs).isfinite().all()
    assert torch.tensor([float(value) for value, _ in loss(inputs).means.values()]).isfinite().all()
