"""Losses of preference pairs: DPO and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rlpost.interfaces import LossInputs, LossSums
from rlpost.losses.rows import row_sums
from rlpost.recipe.preference_losses import PAIR_LOSSES, PairLoss

_SURE = -1e-7
"""Largest log-probability of which ORPO takes the odds; those of a certain answer have no bound."""


class _Scores(NamedTuple):
    """Scores of the answers of N pairs; shape [N] each."""

    chosen: Tensor
    rejected: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceLoss:
    r"""The loss of `kind`, summed over pairs, plus `nll_weight` times the chosen answer's mean cross-entropy a token.

    An answer's score s is `sum_t (log pi(token_t) - log pi_ref(token_t))` over its tokens; without the reference for
    `simpo` and `orpo`; divided by their number for those that are `per_token` (`recipe/preference_losses.py` has the
    sources). With the scores s_c of the chosen and s_r of the rejected answer, and h = beta (s_c - s_r):

    | kind | loss of a pair |
    |---|---|
    | sigmoid, sigmoid_norm | -(1 - e) log sigmoid(h) - e log sigmoid(-h), with e the label smoothing |
    | robust | (-(1 - e) log sigmoid(h) + e log sigmoid(-h)) / (1 - 2 e) |
    | hinge | max(0, 1 - h) |
    | ipo | (s_c - s_r - 1 / (2 beta))^2 |
    | apo_zero | 1 - sigmoid(beta s_c) + sigmoid(beta s_r) |
    | apo_down | sigmoid(beta s_c) + 1 - sigmoid(h) |
    | simpo | -log sigmoid(h - margin) |
    | orpo | -beta log sigmoid(log odds(exp s_c) - log odds(exp s_r)) |

    Rows come in adjacent pairs, chosen before rejected. Weights are 1 on response tokens (other weights weigh the sum
    and the mean), and the denominator is the number of pairs. If a row of a pair has no response token, the pair
    expresses no preference and adds nothing.

    Metrics, all means over pairs: `accuracy` (chosen scored above rejected), `chosen_reward` and `rejected_reward`
    (beta * score), and their difference `margin`; with `nll_weight`, `nll`, the chosen answer's cross-entropy.
    """

    kind: PairLoss
    beta: float
    label_smoothing: float = 0.0
    margin: float = 0.0
    nll_weight: float = 0.0

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`."""
        return frozenset({"reference_logprobs_T"} if PAIR_LOSSES[self.kind].has_reference else ())

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the summed loss of the pairs of one micro-batch."""
        assert inputs.row_count % 2 == 0, f"preference rows come in pairs, found {inputs.row_count} rows"

        def summed(values_T: Tensor) -> Tensor:
            return row_sums(values_T, row_T=inputs.row_T, row_count=inputs.row_count)

        facts = PAIR_LOSSES[self.kind]
        logprobs_T = inputs.logprobs_T
        scored_T = logprobs_T - inputs["reference_logprobs_T"] if facts.has_reference else logprobs_T
        lengths_B = summed(inputs.weights_T)
        scores_B = summed(inputs.weights_T * scored_T) / (lengths_B.clamp(min=1) if facts.per_token else 1)
        scores = _Scores(scores_B[0::2], scores_B[1::2])
        complete = (lengths_B[0::2] > 0) & (lengths_B[1::2] > 0)
        losses = _LOSSES[self.kind](scores, self)
        more: dict[str, tuple[Tensor, Tensor | float]] = {}
        if self.nll_weight:
            nll = -(summed(inputs.weights_T * logprobs_T) / lengths_B.clamp(min=1))[0::2]
            losses = losses + self.nll_weight * nll
            more["nll"] = (nll.detach()[complete].sum(), complete.sum())
        return LossSums(
            total=torch.where(complete, losses, 0.0).sum(),
            means={**_metrics(scores, complete, beta=self.beta), **more},
            maxima={},
        )


def _metrics(scores: _Scores, complete: Tensor, *, beta: float) -> dict[str, tuple[Tensor, Tensor | float]]:
    chosen, rejected = (beta * one.detach()[complete] for one in scores)
    count = complete.sum()
    return {
        "accuracy": ((chosen > rejected).sum(), count),
        "margin": ((chosen - rejected).sum(), count),
        "chosen_reward": (chosen.sum(), count),
        "rejected_reward": (rejected.sum(), count),
    }


def _sigmoid(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    h, e = loss.beta * (scores.chosen - scores.rejected), loss.label_smoothing
    return -(1 - e) * F.logsigmoid(h) - e * F.logsigmoid(-h)


def _robust(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    h, e = loss.beta * (scores.chosen - scores.rejected), loss.label_smoothing
    return (-(1 - e) * F.logsigmoid(h) + e * F.logsigmoid(-h)) / (1 - 2 * e)


def _hinge(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    return (1 - loss.beta * (scores.chosen - scores.rejected)).relu()


def _ipo(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    return (scores.chosen - scores.rejected - 1 / (2 * loss.beta)).square()


def _apo_zero(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    return 1 - torch.sigmoid(loss.beta * scores.chosen) + torch.sigmoid(loss.beta * scores.rejected)


def _apo_down(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    difference = loss.beta * (scores.chosen - scores.rejected)
    return torch.sigmoid(loss.beta * scores.chosen) + 1 - torch.sigmoid(difference)


def _simpo(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    return -F.logsigmoid(loss.beta * (scores.chosen - scores.rejected) - loss.margin)


def _orpo(scores: _Scores, loss: PreferenceLoss) -> Tensor:
    chosen, rejected = (one.clamp(max=_SURE) for one in scores)
    log_odds_ratio = chosen - rejected - (_log_of_rest(chosen) - _log_of_rest(rejected))
    return -loss.beta * F.logsigmoid(log_odds_ratio)


def _log_of_rest(logprobs: Tensor) -> Tensor:
    """Return log(1 - exp(logprobs)), exact near both ends (Mächler, "Accurately computing log(1 - exp(-|a|))")."""
    near_zero = logprobs > -0.693
    # Each branch gets numbers that it can take, because its gradient is computed everywhere.
    small = torch.where(near_zero, logprobs, -1.0)
    large = torch.where(near_zero, -1.0, logprobs)
    return torch.where(near_zero, (-torch.expm1(small)).log(), torch.log1p(-large.exp()))


_LOSSES: Mapping[PairLoss, Callable[[_Scores, PreferenceLoss], Tensor]] = {
    "sigmoid": _sigmoid,
    "sigmoid_norm": _sigmoid,
    "robust": _robust,
    "hinge": _hinge,
    "ipo": _ipo,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
    "simpo": _simpo,
    "orpo": _orpo,
}
