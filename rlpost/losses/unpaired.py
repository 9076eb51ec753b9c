"""Losses of single judged answers: KTO with a label for each, QRPO with a quantile of its reward."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rlpost.interfaces import LossInputs, LossSums
from rlpost.losses.rows import row_means, row_sums


@dataclass(frozen=True, kw_only=True, slots=True)
class KtoLoss:
    """The loss of KTO (arXiv 2402.01306, equation 8), summed over rows.

    With s the sum of `log pi - log pi_ref` over a row's answer, and the baseline z0 of its batch, a desirable row
    loses `desirable_weight * (1 - sigmoid(beta (s - z0)))` and an undesirable one
    `undesirable_weight * (1 - sigmoid(beta (z0 - s)))`. The denominator is the number of rows.

    Columns, equal for all tokens of a row: `targets_T`, 1 for a desirable answer and 0 for an undesirable one, and
    `baseline_T`, z0, which is computed before the step, over the whole batch and without a gradient.

    Metrics: `desirable_reward` and `undesirable_reward` (beta * s, means over the rows of each kind), and `baseline`.
    """

    beta: float
    desirable_weight: float
    undesirable_weight: float

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`."""
        return frozenset({"reference_logprobs_T", "targets_T", "baseline_T"})

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the summed loss of the rows of one micro-batch."""
        rows = _Rows(inputs)
        scores_B, is_desirable_B = rows.log_ratios_B, rows.of_row("targets_T") > 0.5
        baseline_B, found_B = rows.of_row("baseline_T"), rows.lengths_B > 0
        sign_B = is_desirable_B.to(scores_B.dtype) * 2 - 1
        weight_B = torch.where(
            is_desirable_B, scores_B.new_tensor(self.desirable_weight), scores_B.new_tensor(self.undesirable_weight)
        )
        losses_B = weight_B * (1 - torch.sigmoid(self.beta * sign_B * (scores_B - baseline_B)))
        rewards_B = self.beta * scores_B.detach()
        good_B, bad_B = found_B & is_desirable_B, found_B & ~is_desirable_B
        return LossSums(
            total=torch.where(found_B, losses_B, 0.0).sum(),
            means={
                "desirable_reward": (rewards_B[good_B].sum(), good_B.sum()),
                "undesirable_reward": (rewards_B[bad_B].sum(), bad_B.sum()),
                "baseline": (baseline_B[found_B].sum(), found_B.sum()),
            },
            maxima={},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class QrpoLoss:
    """The loss of QRPO (arXiv 2507.08068, equation 11), summed over rows: `(q - beta log Z - beta s)^2`.

    q, in `targets_T`, is the share of the reference model's rewards that the answer's reward reaches, and s is the sum
    of `log pi - log pi_ref` over the answer's tokens, or their mean when `length_normalised`. As q is uniform under
    the reference model, `Z = beta (exp(1 / beta) - 1)` is known exactly. The denominator is the number of rows.

    Metrics: `reward` (beta * s) and `error` (the root is not taken), means over rows.
    """

    beta: float
    length_normalised: bool

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`."""
        return frozenset({"reference_logprobs_T", "targets_T"})

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the summed loss of the rows of one micro-batch."""
        rows = _Rows(inputs)
        found_B = rows.lengths_B > 0
        scores_B = rows.log_ratios_B / (rows.lengths_B.clamp(min=1) if self.length_normalised else 1)
        errors_B = (rows.of_row("targets_T") - scaled_log_partition(self.beta) - self.beta * scores_B).square()
        return LossSums(
            total=torch.where(found_B, errors_B, 0.0).sum(),
            means={
                "reward": ((self.beta * scores_B.detach())[found_B].sum(), found_B.sum()),
                "error": (errors_B.detach()[found_B].sum(), found_B.sum()),
            },
            maxima={},
        )


def scaled_log_partition(beta: float) -> float:
    """Return beta log Z for rewards that are uniform in [0, 1]; for a small beta, exp(1 / beta) has no number."""
    return 1 + beta * math.log(beta * -math.expm1(-1 / beta))


class _Rows:
    """The rows of a micro-batch; shape [B] each."""

    def __init__(self, inputs: LossInputs) -> None:
        self._inputs = inputs
        log_ratios_T = inputs.weights_T * (inputs.logprobs_T - inputs["reference_logprobs_T"])
        self.log_ratios_B = row_sums(log_ratios_T, row_T=inputs.row_T, row_count=inputs.row_count)
        self.lengths_B = row_sums(inputs.weights_T, row_T=inputs.row_T, row_count=inputs.row_count)

    def of_row(self, column: str) -> Tensor:
        """Return the value that all tokens of a row have in a column."""
        return row_means(self._inputs[column], row_T=self._inputs.row_T, row_count=self._inputs.row_count)
