"""Learning from tokens of older weights: the proximal policy, and weights for its distance from the behaviour policy.

Three policies take part (decoupled PPO, Hilton et al., arXiv 2110.00641; AReaL, arXiv 2505.24298, equation 5): the
behaviour policy sampled the tokens, the proximal policy is the centre of the clip, and the current policy is being
trained. The ratio current / proximal is clipped; proximal / behaviour is a weight without gradient, which is capped or
masked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rlpost.interfaces import LossInputs
from rlpost.losses.ratios import ratios_of
from rlpost.losses.rows import row_means, row_sums
from rlpost.recipe.rl import Correction

Proximal = Literal["behaviour", "recompute", "log_linear", "current"]
"""A recipe names the first three; `current` is `recompute` with one optimizer step a batch, without a forward pass."""


class CorrectionWeights(NamedTuple):
    """The factors for the surrogate of each token; shape [T] each."""

    weights_T: Tensor
    changed_T: Tensor
    """Marks the tokens that were capped or masked; boolean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OffPolicy:
    """The choice of the proximal policy, and the treatment of w = proximal / behaviour.

    - `truncate`: w of the token, clipped to [low, high] (TIS: Yao et al. 2025, "Your efficient RL framework secretly
      brings you off-policy RL training");
    - `icepop`: w of the token, 0 outside [low, high] (IcePop: Ring-1T, arXiv 2510.18855, section 3.2);
    - `sequence_truncate`: product of w over the row, clipped to [low, high] (TRL's form of that name);
    - `sequence_mask`: product of w over the row, 0 outside [low, high] (Liu et al. 2025, "When speed kills stability";
      TRL's form of that name);
    - `geometric_mask`: 1, or 0 if exp(mean of log w over the row) is outside [low, high] (SkyRL's geometric sequence
      mask, which SkyRL keeps separate from weights; its scripts use [0.99, 1.01] and no weights).

    A masked token still counts in the batch's denominator.
    """

    proximal: Proximal
    correction: Correction
    low: float
    """Lower bound; 0 means none."""
    high: float
    """Upper bound; infinity means none."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns from which the proximal policy is computed, besides that of the behaviour policy."""
        match self.proximal:
            case "behaviour" | "current":
                return frozenset()
            case "recompute":
                return frozenset({"proximal_logprobs_T"})
            case "log_linear":
                return frozenset({"proximal_mix_T"})

    def proximal_logprobs(self, inputs: LossInputs) -> Tensor:
        """Return the log-probabilities under the proximal policy, without gradient; shape [T].

        `log_linear` is AReaL's estimate `behaviour + mix * (current - behaviour)`, which needs no forward pass. With a
        mix of 1 it equals the current policy to the last bit: every ratio is 1 and has the gradient of the
        log-probability. `current` gives the same, and needs no columns.
        """
        match self.proximal:
            case "behaviour":
                return inputs["behaviour_logprobs_T"]
            case "current":
                return inputs.logprobs_T.detach()
            case "recompute":
                return inputs["proximal_logprobs_T"]
            case "log_linear":
                return torch.lerp(inputs["behaviour_logprobs_T"], inputs.logprobs_T.detach(), inputs["proximal_mix_T"])

    def correct(self, inputs: LossInputs, *, proximal_logprobs_T: Tensor) -> CorrectionWeights | None:
        """Return weights for the surrogate; None if there is nothing to correct."""
        if self.correction == "none" or self.proximal == "behaviour":
            return None
        log_weights_T = proximal_logprobs_T - inputs["behaviour_logprobs_T"]
        match self.correction:
            case "truncate":
                return self._cut(ratios_of(log_weights_T))
            case "icepop":
                return self._mask(ratios_of(log_weights_T))
            case "sequence_truncate":
                return self._cut(self._products(inputs, log_weights_T))
            case "sequence_mask":
                return self._mask(self._products(inputs, log_weights_T))
            case "geometric_mask":
                log_means_B = row_means(log_weights_T, row_T=inputs.row_T, row_count=inputs.row_count)
                masked_T = self._outside(ratios_of(log_means_B)[inputs.row_T])
                return CorrectionWeights((~masked_T).to(log_weights_T.dtype), masked_T)

    def _products(self, inputs: LossInputs, log_weights_T: Tensor) -> Tensor:
        log_products_B = row_sums(log_weights_T, row_T=inputs.row_T, row_count=inputs.row_count)
        return ratios_of(log_products_B)[inputs.row_T]

    def _outside(self, weights_T: Tensor) -> Tensor:
        return (weights_T < self.low) | (weights_T > self.high)

    def _cut(self, weights_T: Tensor) -> CorrectionWeights:
        return CorrectionWeights(weights_T.clamp(self.low, self.high), self._outside(weights_T))

    def _mask(self, weights_T: Tensor) -> CorrectionWeights:
        outside_T = self._outside(weights_T)
        return CorrectionWeights(weights_T.masked_fill(outside_T, 0.0), outside_T)
