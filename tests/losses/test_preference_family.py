"""DPO's relatives by hand in double precision, by finite differences, and over any split into micro-batches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from loss_inputs import added, gradient_by_autograd, gradient_by_differences, inputs_of, split_at_row

from rlpost.losses.preference import PreferenceLoss
from rlpost.recipe.preference_losses import PAIR_LOSSES, PairLoss

BETA, SMOOTHING, MARGIN = 0.5, 0.2, 0.7
POLICY = [-1.0, -2.0, -0.5, -1.5, -3.0, -0.2, -0.3]
ROWS = [0, 0, 1, 2, 2, 2, 3]
TWO_PAIRS = inputs_of(POLICY, rows=ROWS, reference=[-1.5, -2.5, -0.4, -1.0, -2.0, -0.1, -0.9])
SUMS = ((1.0, -0.1), (-1.6, 0.6))
"""Sums of log-ratios of chosen and rejected, for each pair."""
MEANS = ((0.5, -0.1), (-1.6 / 3, 0.6))
PLAIN_MEANS = ((-1.5, -0.5), (-4.7 / 3, -0.3))
"""Means of the policy's own log-probabilities."""


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def orpo(chosen: float, rejected: float) -> float:
    odds = [math.exp(one) / (1 - math.exp(one)) for one in (chosen, rejected)]
    return -BETA * math.log(sigmoid(math.log(odds[0] / odds[1]))) - chosen


BY_HAND: dict[PairLoss, tuple[tuple[tuple[float, float], ...], Callable[[float, float], float]]] = {
    "sigmoid": (
        SUMS,
        lambda c, r: (
            -(1 - SMOOTHING) * math.log(sigmoid(BETA * (c - r))) - SMOOTHING * math.log(sigmoid(-BETA * (c - r)))
        ),
    ),
    "sigmoid_norm": (
        MEANS,
        lambda c, r: (
            -(1 - SMOOTHING) * math.log(sigmoid(BETA * (c - r))) - SMOOTHING * math.log(sigmoid(-BETA * (c - r)))
        ),
    ),
    "robust": (
        SUMS,
        lambda c, r: (
            (-(1 - SMOOTHING) * math.log(sigmoid(BETA * (c - r))) + SMOOTHING * math.log(sigmoid(-BETA * (c - r))))
            / (1 - 2 * SMOOTHING)
        ),
    ),
    "hinge": (SUMS, lambda c, r: max(0.0, 1 - BETA * (c - r))),
    "ipo": (MEANS, lambda c, r: (c - r - 1 / (2 * BETA)) ** 2),
    "apo_zero": (SUMS, lambda c, r: 1 - sigmoid(BETA * c) + sigmoid(BETA * r)),
    "apo_down": (SUMS, lambda c, r: sigmoid(BETA * c) + 1 - sigmoid(BETA * (c - r))),
    "simpo": (PLAIN_MEANS, lambda c, r: -math.log(sigmoid(BETA * (c - r) - MARGIN))),
    "orpo": (PLAIN_MEANS, orpo),
}
KINDS = pytest.mark.parametrize("kind", list(PAIR_LOSSES))


def loss_of(kind: PairLoss, *, nll_weight: float | None = None) -> PreferenceLoss:
    facts = PAIR_LOSSES[kind]
    return PreferenceLoss(
        kind=kind,
        beta=BETA,
        label_smoothing=SMOOTHING if facts.takes_smoothing else 0.0,
        margin=MARGIN if facts.takes_margin else 0.0,
        nll_weight=facts.nll_weight if nll_weight is None else nll_weight,
    )


@KINDS
def test_the_loss_is_that_of_its_formula(kind: PairLoss) -> None:
    scores, formula = BY_HAND[kind]
    expected = sum(formula(chosen, rejected) for chosen, rejected in scores)
    assert loss_of(kind)(TWO_PAIRS).total.item() == pytest.approx(expected, rel=1e-12)


@KINDS
def test_the_gradient_equals_finite_differences(kind: PairLoss) -> None:
    loss = loss_of(kind)
    torch.testing.assert_close(
        gradient_by_autograd(loss, TWO_PAIRS), gradient_by_differences(loss, TWO_PAIRS), rtol=1e-6, atol=1e-8
    )


@KINDS
def test_two_micro_batches_add_up_to_one(kind: PairLoss) -> None:
    loss = loss_of(kind, nll_weight=0.3)
    whole = loss(TWO_PAIRS)
    total, means, _ = added([loss(part) for part in split_at_row(TWO_PAIRS, 2)])
    assert total == pytest.approx(whole.total.item(), rel=1e-12)
    for name, (value, count) in whole.means.items():
        assert means[name] == pytest.approx((float(value), float(count)))


@KINDS
def test_only_losses_with_a_reference_read_its_column(kind: PairLoss) -> None:
    assert loss_of(kind).columns == ({"reference_logprobs_T"} if kind not in ("simpo", "orpo") else set())


def test_the_nll_term_is_the_mean_over_pairs_of_the_chosen_answers_mean_cross_entropy() -> None:
    plain, more = loss_of("sigmoid")(TWO_PAIRS), loss_of("sigmoid", nll_weight=0.25)(TWO_PAIRS)
    assert more.total.item() - plain.total.item() == pytest.approx(0.25 * (1.5 + 4.7 / 3))
    assert float(more.means["nll"][0]) / float(more.means["nll"][1]) == pytest.approx((1.5 + 4.7 / 3) / 2)
    assert "nll" not in plain.means


@pytest.mark.parametrize("logprob", [-1e-9, -1e-4, -0.6931, -0.6932, -5.0, -80.0])
def test_the_odds_of_sure_and_of_hopeless_answers_are_finite(logprob: float) -> None:
    inputs = inputs_of([logprob, -1.0], rows=[0, 1])
    gradient = gradient_by_autograd(loss_of("orpo"), inputs)
    assert torch.isfinite(gradient).all()
    assert math.isfinite(loss_of("orpo")(inputs).total.item())
