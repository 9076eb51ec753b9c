"""KTO and QRPO by hand in double precision, by finite differences, and over any split into micro-batches."""

from __future__ import annotations

import math

import pytest
import torch
from loss_inputs import added, gradient_by_autograd, gradient_by_differences, inputs_of, split_at_row

from rlpost.interfaces import LossFn
from rlpost.losses.unpaired import KtoLoss, QrpoLoss, scaled_log_partition

ROWS = [0, 0, 1, 2, 2, 2, 3]
LABELS = [1.0, 0.0, 0.0, 1.0]
INPUTS = inputs_of(
    [-1.0, -2.0, -0.5, -1.5, -3.0, -0.2, -0.3],
    rows=ROWS,
    reference=[-1.5, -2.5, -0.4, -1.0, -2.0, -0.1, -0.9],
    targets=[LABELS[row] for row in ROWS],
    baseline=[0.25] * len(ROWS),
)
SUMS, LENGTHS = (1.0, -0.1, -1.6, 0.6), (2, 1, 3, 1)
KTO = KtoLoss(beta=0.5, desirable_weight=1.5, undesirable_weight=0.7)
LOSSES = pytest.mark.parametrize(
    "loss", [KTO, QrpoLoss(beta=0.4, length_normalised=False), QrpoLoss(beta=5.0, length_normalised=True)]
)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_kto_weighs_each_kind_of_answer_against_the_baseline() -> None:
    expected = sum(
        1.5 * (1 - sigmoid(0.5 * (score - 0.25))) if label else 0.7 * (1 - sigmoid(0.5 * (0.25 - score)))
        for score, label in zip(SUMS, LABELS, strict=True)
    )
    assert KTO(INPUTS).total.item() == pytest.approx(expected, rel=1e-12)


def test_kto_reports_rewards_by_kind() -> None:
    values = {name: float(value) / float(count) for name, (value, count) in KTO(INPUTS).means.items()}
    assert values == pytest.approx({"desirable_reward": 0.5 * 0.8, "undesirable_reward": 0.5 * -0.85, "baseline": 0.25})


@pytest.mark.parametrize("length_normalised", [False, True])
def test_qrpo_is_the_squared_error_to_the_optimum(length_normalised: bool) -> None:
    beta = 0.4
    partition = beta * math.log(beta * (math.exp(1 / beta) - 1))
    scores = [score / length if length_normalised else score for score, length in zip(SUMS, LENGTHS, strict=True)]
    expected = sum((label - partition - beta * score) ** 2 for score, label in zip(scores, LABELS, strict=True))
    found = QrpoLoss(beta=beta, length_normalised=length_normalised)(INPUTS).total.item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_partition_has_a_number_for_every_beta() -> None:
    assert scaled_log_partition(1.0) == pytest.approx(math.log(math.e - 1))
    assert scaled_log_partition(1e-3) == pytest.approx(1 + 1e-3 * math.log(1e-3))
    assert scaled_log_partition(1e6) == pytest.approx(0.5, abs=1e-3), "the mean of a uniform reward"


@LOSSES
def test_the_gradient_equals_finite_differences(loss: LossFn) -> None:
    torch.testing.assert_close(
        gradient_by_autograd(loss, INPUTS), gradient_by_differences(loss, INPUTS), rtol=1e-6, atol=1e-8
    )


@LOSSES
def test_two_micro_batches_add_up_to_one(loss: LossFn) -> None:
    whole = loss(INPUTS)
    total, means, _ = added([loss(part) for part in split_at_row(INPUTS, 2)])
    assert total == pytest.approx(whole.total.item(), rel=1e-12)
    for name, (value, count) in whole.means.items():
        assert means[name] == pytest.approx((float(value), float(count)))


@LOSSES
def test_a_row_without_an_answer_adds_nothing(loss: LossFn) -> None:
    more = inputs_of([-1.0], rows=[0], reference=[-2.0], targets=[1.0], baseline=[0.1], row_count=2)
    alone = inputs_of([-1.0], rows=[0], reference=[-2.0], targets=[1.0], baseline=[0.1])
    assert loss(more).total.item() == loss(alone).total.item()
