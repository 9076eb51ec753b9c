"""The clipped surrogate by hand, by finite differences, at the extremes, and over any split into micro-batches."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import added, gradient_by_autograd, gradient_by_differences, inputs_of, split_at_row

from rlpost.interfaces import LossInputs
from rlpost.losses.policy_gradient import PolicyGradient

PLAIN = PolicyGradient(clip_low=0.2, clip_high=0.3, kl_coefficient=0.0)


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
    sums = PolicyGradient(clip_low=0.2, clip_high=0.2, kl_coefficient=0.1)(inputs)
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
    means = {name: float(value) / float(count) for name, (value, count) in sums.means.items()}
    gaps = [abs(math.log(ratio)) for ratio in ratios]
    assert means == pytest.approx({"clip_fraction": 0.5, "ratio_mean": 1.25, "logprob_gap_mean": sum(gaps) / 4})
    maxima = {name: float(value) for name, value in sums.maxima.items()}
    assert maxima == pytest.approx({"ratio_max": 2.0, "logprob_gap_max": math.log(2)})


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
    loss = PolicyGradient(clip_low=0.2, clip_high=0.3, kl_coefficient=kl_coefficient)
    torch.testing.assert_close(
        gradient_by_autograd(loss, inputs), gradient_by_differences(loss, inputs), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("advantage", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize(("now", "then"), [(-1e4, -0.1), (-0.1, -1e4)])
def test_extreme_ratios_stay_finite_in_float32(advantage: float, now: float, then: float) -> None:
    loss = PolicyGradient(clip_low=0.2, clip_high=0.2, kl_coefficient=0.1)
    double = inputs_of([now], rows=[0], behaviour=[then], reference=[then], advantages=[advantage])
    single = replace(
        double,
        logprobs_T=double.logprobs_T.detach().float().requires_grad_(),
        advantages_T=double.advantages_T.float(),
        behaviour_logprobs_T=double.behaviour_logprobs_T.float(),
        reference_logprobs_T=double.reference_logprobs_T.float(),
    )
    sums = loss(single)
    reported = [sums.total, *(value for value, _ in sums.means.values()), *sums.maxima.values()]
    assert all(math.isfinite(float(value)) for value in reported)
    assert gradient_by_autograd(loss, single).isfinite().all()
    assert float(sums.maxima["logprob_gap_max"]) == pytest.approx(abs(now - then)), "the gap is reported uncut"


def test_a_micro_batch_without_tokens_adds_nothing() -> None:
    sums = PLAIN(inputs_of([], rows=[], row_count=1))
    assert sums.total.item() == 0
    assert {name: (float(value), float(count)) for name, (value, count) in sums.means.items()} == dict.fromkeys(
        ("clip_fraction", "ratio_mean", "logprob_gap_mean"), (0.0, 0.0)
    )
    assert {name: float(value) for name, value in sums.maxima.items()} == {"ratio_max": 0.0, "logprob_gap_max": 0.0}


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_sums_add_up_over_any_split_into_micro_batches(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    rows = [row for row, length in enumerate(lengths) for _ in range(length)]

    def column(low: float, high: float) -> list[float]:
        return data.draw(st.lists(st.floats(low, high), min_size=len(rows), max_size=len(rows)))

    inputs = inputs_of(
        column(-6, 0),
        rows=rows,
        behaviour=column(-6, 0),
        reference=column(-6, 0),
        advantages=column(-2, 2),
        weights=column(0.1, 2),
        row_count=len(lengths),
    )
    loss = PolicyGradient(clip_low=0.2, clip_high=0.3, kl_coefficient=0.2)
    whole_total, whole_means, whole_maxima = added([loss(inputs)])
    boundary = data.draw(st.integers(0, len(lengths)))
    total, means, maxima = added([loss(part) for part in split_at_row(inputs, boundary)])
    assert total == pytest.approx(whole_total, abs=1e-9)
    assert maxima == whole_maxima
    for name, pair in whole_means.items():
        assert means[name] == pytest.approx(pair, abs=1e-9)


def test_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(PLAIN)) == PLAIN
