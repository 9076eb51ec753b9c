"""DPO by hand, by finite differences, and over any split into micro-batches."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import added, gradient_by_autograd, gradient_by_differences, inputs_of, split_at_row

from rlpost.losses.preference import PreferenceLoss

TWO_PAIRS = inputs_of(
    [-1.0, -2.0, -0.5, -1.5, -3.0, -0.2, -0.3],
    rows=[0, 0, 1, 2, 2, 2, 3],
    reference=[-1.5, -2.5, -0.4, -1.0, -2.0, -0.1, -0.9],
)
"""Sums of log-ratios: chosen 1.0 (2 tokens) over rejected -0.1 (1), then chosen -1.6 (3) under rejected 0.6 (1)."""


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def test_plain_loss_compares_sums_of_log_ratios() -> None:
    sums = PreferenceLoss(kind="sigmoid", beta=0.5)(TWO_PAIRS)
    assert sums.total.item() == pytest.approx(-log_sigmoid(0.5 * 1.1) - log_sigmoid(0.5 * -2.2))


def test_normalised_loss_compares_means_of_log_ratios() -> None:
    sums = PreferenceLoss(kind="sigmoid_norm", beta=5.0)(TWO_PAIRS)
    expected = -log_sigmoid(5 * (1.0 / 2 + 0.1)) - log_sigmoid(5 * (-1.6 / 3 - 0.6))
    assert sums.total.item() == pytest.approx(expected)


def test_weights_weigh_the_sum_of_a_row_and_its_mean() -> None:
    inputs = inputs_of([-1.0, -2.0, -0.5], rows=[0, 0, 1], reference=[-1.5, -4.0, -0.4], weights=[3.0, 1.0, 2.0])
    plain = PreferenceLoss(kind="sigmoid", beta=1.0)(inputs).total.item()
    normalised = PreferenceLoss(kind="sigmoid_norm", beta=1.0)(inputs).total.item()
    assert plain == pytest.approx(-log_sigmoid(3 * 0.5 + 2.0 + 2 * 0.1))
    assert normalised == pytest.approx(-log_sigmoid((3 * 0.5 + 2.0) / 4 + 0.1))


def test_metrics_are_means_over_pairs_of_beta_times_score() -> None:
    means = PreferenceLoss(kind="sigmoid", beta=0.5)(TWO_PAIRS).means
    values = {name: float(value) / float(count) for name, (value, count) in means.items()}
    assert values == pytest.approx(
        {
            "accuracy": 0.5,
            "chosen_reward": 0.5 * (1.0 - 1.6) / 2,
            "rejected_reward": 0.5 * (-0.1 + 0.6) / 2,
            "margin": 0.5 * (1.1 - 2.2) / 2,
        }
    )


def test_a_policy_equal_to_its_reference_loses_log_two_a_pair() -> None:
    inputs = inputs_of([-1.0, -2.0, -3.0], rows=[0, 1, 1], reference=[-1.0, -2.0, -3.0])
    sums = PreferenceLoss(kind="sigmoid", beta=0.1)(inputs)
    assert sums.total.item() == pytest.approx(math.log(2))
    assert float(sums.means["accuracy"][0]) == 0, "a tie is not a chosen answer scored above"


@pytest.mark.parametrize("length_normalised", [False, True])
def test_gradient_equals_finite_differences(length_normalised: bool) -> None:
    loss = PreferenceLoss(kind="sigmoid_norm" if length_normalised else "sigmoid", beta=2.0)
    torch.testing.assert_close(
        gradient_by_autograd(loss, TWO_PAIRS), gradient_by_differences(loss, TWO_PAIRS), rtol=1e-6, atol=1e-8
    )


def test_a_pair_with_an_empty_row_adds_nothing() -> None:
    whole = inputs_of([-1.0, -2.0, -0.7], rows=[0, 1, 2], reference=[-1.5, -2.5, -0.4], row_count=4)
    (first_pair, second_pair) = split_at_row(whole, 2)
    loss = PreferenceLoss(kind="sigmoid_norm", beta=1.0)
    assert loss(second_pair).total.item() == 0
    assert float(loss(second_pair).means["accuracy"][1]) == 0
    assert loss(whole).total.item() == loss(first_pair).total.item() > 0
    assert gradient_by_autograd(loss, whole)[2] == 0


@pytest.mark.parametrize("length_normalised", [False, True])
def test_extreme_log_ratios_stay_finite(length_normalised: bool) -> None:
    inputs = inputs_of([-1e4, -1.0, -1.0, -1e4], rows=[0, 1, 2, 3], reference=[-1.0, -1e4, -1e4, -1.0])
    loss = PreferenceLoss(kind="sigmoid_norm" if length_normalised else "sigmoid", beta=5.0)
    assert loss(inputs).total.item() == pytest.approx(5.0 * 2 * (1e4 - 1))
    assert gradient_by_autograd(loss, inputs).tolist() == pytest.approx([-5.0, 5.0, 0.0, 0.0])


LOGPROB = st.floats(-8.0, 0.0)


@settings(deadline=None, max_examples=50)
@given(data=st.data(), length_normalised=st.booleans())
def test_sums_add_up_over_any_split_into_micro_batches(data: st.DataObject, length_normalised: bool) -> None:
    lengths = data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=8).filter(lambda rows: len(rows) % 2 == 0))
    rows = [row for row, length in enumerate(lengths) for _ in range(length)]
    columns = st.lists(LOGPROB, min_size=len(rows), max_size=len(rows))
    inputs = inputs_of(data.draw(columns), rows=rows, reference=data.draw(columns), row_count=len(lengths))
    boundary = 2 * data.draw(st.integers(0, len(lengths) // 2))
    loss = PreferenceLoss(kind="sigmoid_norm" if length_normalised else "sigmoid", beta=1.5)

    whole_total, whole_means, _ = added([loss(inputs)])
    total, means, _ = added([loss(part) for part in split_at_row(inputs, boundary)])
    assert total == pytest.approx(whole_total, abs=1e-9)
    for name, pair in whole_means.items():
        assert means[name] == pytest.approx(pair, abs=1e-9)


def test_half_a_pair_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="pairs"):
        PreferenceLoss(kind="sigmoid", beta=1.0)(inputs_of([-1.0], rows=[0]))


def test_survives_pickling() -> None:
    loss = PreferenceLoss(kind="sigmoid_norm", beta=5.0)
    assert pickle.loads(pickle.dumps(loss)) == loss
