"""The loss of RL stages: its parts by hand, by finite differences, at the extremes, over any split, from recipes."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import (
    added,
    gradient_by_autograd,
    gradient_by_differences,
    inputs_of,
    mean_of,
    single_precision,
    split_at_row,
)

from rlpost.interfaces import LossInputs
from rlpost.losses.cispo import Cispo
from rlpost.losses.gspo import Gspo
from rlpost.losses.kl import KlPenalty
from rlpost.losses.off_policy import OffPolicy
from rlpost.losses.policy_loss import PolicyLoss, policy_loss_of
from rlpost.losses.ppo_clip import PpoClip
from rlpost.losses.value_loss import ValueLoss
from rlpost.recipe.stages import GrpoStage, PpoStage

ON_POLICY = OffPolicy(proximal="behaviour", correction="none", low=0.0, high=math.inf)
CAPPED = OffPolicy(proximal="recompute", correction="truncate", low=0.0, high=2.0)
PLAIN = PolicyLoss(
    surrogate=PpoClip(clip_low=0.2, clip_high=0.3, dual_clip=None), off_policy=ON_POLICY, kl=None, value=None
)


def with_kl(coefficient: float, loss: PolicyLoss = PLAIN) -> PolicyLoss:
    return replace(loss, kl=KlPenalty(coefficient=coefficient, estimator="k3") if coefficient else None)


def one_token(*, ratio: float, advantage: float) -> LossInputs:
    return inputs_of([math.log(ratio) - 1.0], rows=[0], behaviour=[-1.0], advantages=[advantage])


@pytest.mark.parametrize(
    ("ratio", "advantage", "total", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.25, 2.0, -2.5, -2.5),
        (1.5, 2.0, -1.3 * 2, 0.0),
        (0.5, 2.0, -1.0, -1.0),
        (0.5, -2.0, 0.8 * 2, 0.0),
        (0.9, -2.0, 1.8, 1.8),
        (1.5, -2.0, 3.0, 3.0),
    ],
)
def test_surrogate_of_one_token(ratio: float, advantage: float, total: float, gradient: float) -> None:
    inputs = one_token(ratio=ratio, advantage=advantage)
    assert PLAIN(inputs).total.item() == pytest.approx(total)
    assert gradient_by_autograd(PLAIN, inputs).tolist() == pytest.approx([gradient])
    assert float(PLAIN(inputs).means["clip_fraction"][0]) == (1.0 if gradient == 0 else 0.0)


@pytest.mark.parametrize("ratio", [0.5, 1.5])
def test_a_token_without_advantage_is_not_counted_as_clipped(ratio: float) -> None:
    assert float(PLAIN(one_token(ratio=ratio, advantage=0.0)).means["clip_fraction"][0]) == 0


def test_on_policy_gradient_is_that_of_the_weighted_score_function() -> None:
    inputs = inputs_of(
        [-1.0, -2.0, -3.0],
        rows=[0, 0, 1],
        behaviour=[-1.0, -2.0, -3.0],
        advantages=[1.5, 1.5, -0.5],
        weights=[0.5, 0.5, 1.0],
    )
    assert gradient_by_autograd(PLAIN, inputs).tolist() == pytest.approx([-0.75, -0.75, 0.5])


def test_kl_penalty_is_k3_against_the_reference_times_its_coefficient() -> None:
    inputs = inputs_of([-1.0, -2.0], rows=[0, 0], behaviour=[-1.0, -2.0], reference=[-1.5, -1.0], weights=[1.0, 0.5])
    sums = with_kl(0.1)(inputs)
    k3 = [math.exp(-0.5) + 0.5 - 1, math.exp(1.0) - 1.0 - 1]
    assert sums.total.item() == pytest.approx(0.1 * (k3[0] + 0.5 * k3[1]))
    value, count = sums.means["kl_reference"]
    assert (float(value), count) == (pytest.approx(sum(k3)), 2.0)


def test_without_a_kl_coefficient_the_reference_is_not_looked_at() -> None:
    inputs = inputs_of([-1.0], rows=[0], behaviour=[-1.0], advantages=[1.0], reference=[math.nan])
    sums = PLAIN(inputs)
    assert sums.total.item() == -1.0
    assert "kl_reference" not in sums.means


def test_metrics_speak_of_tokens_not_of_weights() -> None:
    ratios = [1.0, 1.5, 0.5, 2.0]
    inputs = inputs_of(
        [math.log(ratio) for ratio in ratios],
        rows=[0, 0, 1, 1],
        behaviour=[0.0] * 4,
        advantages=[1.0, 1.0, -1.0, -1.0],
        weights=[0.1, 0.2, 0.3, 0.4],
    )
    sums = PLAIN(inputs)
    gaps = [abs(math.log(ratio)) for ratio in ratios]
    assert {name: mean_of(sums, name) for name in sums.means} == pytest.approx(
        {
            "clip_fraction": 0.5,
            "ratio_mean": 1.25,
            "behaviour_ratio_mean": 1.25,
            "behaviour_kl": sum(ratio - 1 - math.log(ratio) for ratio in ratios) / 4,
            "logprob_gap_mean": sum(gaps) / 4,
        }
    )
    maxima = {name: float(value) for name, value in sums.maxima.items()}
    assert maxima == pytest.approx({"ratio_max": 2.0, "behaviour_ratio_max": 2.0, "logprob_gap_max": math.log(2)})


def test_the_clip_is_around_the_proximal_policy_and_the_other_ratios_are_to_the_behaviour_policy() -> None:
    current, proximal, behaviour = math.log(1.5), math.log(1.25), math.log(0.5)
    inputs = inputs_of([current], rows=[0], proximal=[proximal], behaviour=[behaviour], advantages=[2.0])
    sums = replace(PLAIN, off_policy=replace(CAPPED, high=10.0))(inputs)
    assert sums.total.item() == pytest.approx(-(1.25 / 0.5) * (1.5 / 1.25) * 2.0)
    assert mean_of(sums, "ratio_mean") == pytest.approx(1.5 / 1.25)
    assert mean_of(sums, "clip_fraction") == 0, "1.5 / 0.5 would be clipped"
    assert mean_of(sums, "behaviour_ratio_mean") == pytest.approx(3.0)
    assert mean_of(sums, "correction_mean") == pytest.approx(2.5)
    assert mean_of(sums, "corrected_fraction") == 0


def test_the_total_is_the_weighted_sum_of_all_parts() -> None:
    inputs = inputs_of(
        [math.log(1.2), math.log(0.9)],
        rows=[0, 1],
        weights=[0.5, 2.0],
        proximal=[math.log(1.1), 0.0],
        behaviour=[math.log(0.1), 0.0],
        reference=[0.0, 0.0],
        advantages=[1.0, -3.0],
        returns=[1.0, 2.0],
        old_values=[0.0, 2.5],
        values=[0.1, 2.0],
    )
    loss = PolicyLoss(
        surrogate=PLAIN.surrogate,
        off_policy=CAPPED,
        kl=KlPenalty(coefficient=0.3, estimator="k2"),
        value=ValueLoss(clip=0.2, coefficient=0.1),
    )
    # The correction, 11 capped to 2, is on the surrogate alone.
    first = 2 * -(1.2 / 1.1) + 0.3 * math.log(1.2) ** 2 / 2 + 0.1 * 0.9**2 / 2
    second = 1 * 3 * 0.9 + 0.3 * math.log(0.9) ** 2 / 2 + 0.1 * 0.3**2 / 2
    assert loss(inputs).total.item() == pytest.approx(0.5 * first + 2 * second)


@pytest.mark.parametrize("kl_coefficient", [0.0, 0.3])
def test_gradient_equals_finite_differences(kl_coefficient: float) -> None:
    inputs = inputs_of(
        [-1.0, -2.0, -0.5, -0.1, -4.0],
        rows=[0, 0, 1, 1, 2],
        behaviour=[-1.1, -1.0, -0.45, -1.3, -4.9],
        reference=[-0.8, -2.5, -0.7, -0.1, -2.0],
        advantages=[1.2, -0.7, 0.4, -1.5, 0.9],
        weights=[1.0, 0.5, 2.0, 1.0, 0.25],
    )
    loss = with_kl(kl_coefficient)
    torch.testing.assert_close(
        gradient_by_autograd(loss, inputs), gradient_by_differences(loss, inputs), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("advantage", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize(("now", "then"), [(-1e4, -0.1), (-0.1, -1e4)])
def test_extreme_ratios_stay_finite_in_float32(advantage: float, now: float, then: float) -> None:
    loss = with_kl(0.1)
    double = inputs_of([now], rows=[0], behaviour=[then], reference=[then], advantages=[advantage])
    single = single_precision(double)
    sums = loss(single)
    reported = [sums.total.detach(), *(value for value, _ in sums.means.values()), *sums.maxima.values()]
    assert all(math.isfinite(float(value)) for value in reported)
    assert gradient_by_autograd(loss, single).isfinite().all()
    assert float(sums.maxima["logprob_gap_max"]) == pytest.approx(abs(now - then)), "the gap is reported uncut"


@pytest.mark.parametrize(
    "surrogate",
    [PLAIN.surrogate, Gspo(clip_low=0.2, clip_high=0.3), Cispo(cap=5.0)],
    ids=lambda part: type(part).__name__,
)
def test_a_micro_batch_without_tokens_adds_nothing(surrogate: Any) -> None:
    loss = replace(with_kl(0.1), surrogate=surrogate, off_policy=CAPPED, value=ValueLoss(clip=0.2, coefficient=0.1))
    sums = loss(inputs_of([], rows=[], row_count=1, values=[]))
    assert sums.total.item() == 0
    assert all((float(value), float(count)) == (0.0, 0.0) for value, count in sums.means.values())
    assert all(float(value) == 0 for value in sums.maxima.values())


@settings(deadline=None, max_examples=50)
@given(
    data=st.data(),
    surrogate=st.sampled_from([PLAIN.surrogate, Gspo(clip_low=0.1, clip_high=0.2), Cispo(cap=2.0)]),
    correction=st.sampled_from(["truncate", "icepop", "sequence_truncate", "sequence_mask", "geometric_mask"]),
)
def test_sums_add_up_over_any_split_into_micro_batches(data: st.DataObject, surrogate: Any, correction: Any) -> None:
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    rows = [row for row, length in enumerate(lengths) for _ in range(length)]

    def column(low: float, high: float) -> list[float]:
        return data.draw(st.lists(st.floats(low, high), min_size=len(rows), max_size=len(rows)))

    inputs = inputs_of(
        column(-6, 0),
        rows=rows,
        behaviour=column(-6, 0),
        reference=column(-6, 0),
        proximal=column(-6, 0),
        returns=column(-2, 2),
        old_values=column(-2, 2),
        values=column(-2, 2),
        advantages=column(-2, 2),
        weights=column(0.1, 2),
        row_count=len(lengths),
    )
    loss = PolicyLoss(
        surrogate=surrogate,
        off_policy=OffPolicy(proximal="recompute", correction=correction, low=0.5, high=3.0),
        kl=KlPenalty(coefficient=0.2, estimator="k3"),
        value=ValueLoss(clip=0.2, coefficient=0.1),
    )
    whole_total, whole_means, whole_maxima = added([loss(inputs)])
    boundary = data.draw(st.integers(0, len(lengths)))
    total, means, maxima = added([loss(part) for part in split_at_row(inputs, boundary)])
    assert total == pytest.approx(whole_total, rel=1e-9, abs=1e-9)
    assert maxima == pytest.approx(whole_maxima)
    for name, pair in whole_means.items():
        assert means[name] == pytest.approx(pair, rel=1e-9, abs=1e-9)


def grpo_stage(**keys: Any) -> GrpoStage:
    return GrpoStage(**stage_keys("grpo"), samples_per_prompt=2, **keys)


def stage_keys(kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": "rl",
        "data": ["questions"],
        "steps": 1,
        "prompts_per_step": 4,
        "sampling": {"temperature": 1.0, "max_tokens": 8},
        "optimizer": {"learning_rate": 1e-3},
    }


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_the_defaults_of_a_stage_are_a_clip_around_the_learners_policy_and_capped_weights(
    max_staleness: int,
) -> None:
    loss = policy_loss_of(grpo_stage(max_staleness=max_staleness))
    assert loss.surrogate == PpoClip(clip_low=0.2, clip_high=0.2, dual_clip=None)
    assert loss.off_policy == OffPolicy(proximal="recompute", correction="truncate", low=0.0, high=2.0)
    assert (loss.kl, loss.value) == (None, None)


def test_a_stage_with_every_part() -> None:
    loss = policy_loss_of(
        PpoStage(
            **stage_keys("ppo"),
            samples_per_prompt=1,
            max_staleness=2,
            loss={"kind": "ppo_clip", "clip_low": 0.1, "clip_high": 0.4, "dual_clip": 3.0},
            kl={"coefficient": 0.5, "estimator": "k2"},
            off_policy={"correction": "icepop", "high": 4.0},
            value={"clip": 0.3, "coefficient": 0.7},
        )
    )
    assert loss == PolicyLoss(
        surrogate=PpoClip(clip_low=0.1, clip_high=0.4, dual_clip=3.0),
        off_policy=OffPolicy(proximal="recompute", correction="icepop", low=0.5, high=4.0),
        kl=KlPenalty(coefficient=0.5, estimator="k2"),
        value=ValueLoss(clip=0.3, coefficient=0.7),
    )
    assert pickle.loads(pickle.dumps(loss)) == loss


@pytest.mark.parametrize(
    ("keys", "surrogate"),
    [
        ({"kind": "gspo"}, Gspo(clip_low=3e-4, clip_high=4e-4)),
        ({"kind": "gspo", "clip_low": 1e-4, "clip_high": 4e-4}, Gspo(clip_low=1e-4, clip_high=4e-4)),
        ({"kind": "cispo", "cap": 3.0}, Cispo(cap=3.0)),
    ],
)
def test_a_stage_names_its_surrogate(keys: dict[str, Any], surrogate: Gspo | Cispo) -> None:
    assert policy_loss_of(grpo_stage(loss=keys)).surrogate == surrogate


def test_a_penalty_in_the_reward_is_not_in_the_loss() -> None:
    assert policy_loss_of(grpo_stage(kl={"coefficient": 0.5, "estimator": "k1", "place": "reward"})).kl is None


def test_a_bound_that_is_not_given_does_not_bind() -> None:
    loss = policy_loss_of(grpo_stage(max_staleness=1))
    assert (loss.off_policy.correction, loss.off_policy.low, loss.off_policy.high) == ("truncate", 0.0, 2.0)
    none = policy_loss_of(grpo_stage(max_staleness=1, off_policy={"correction": "none"})).off_policy
    assert (none.low, none.high) == (0.0, math.inf)
