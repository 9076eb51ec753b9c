"""PPO's clipped surrogate, token by token: the loss of GRPO, Dr. GRPO, DAPO, RLOO, REINFORCE++ and PPO."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlpost.interfaces import LossInputs
from rlpost.losses.ratios import ratios_of
from rlpost.losses.surrogate import SurrogateTokens, clip_ratios


@dataclass(frozen=True, kw_only=True, slots=True)
class PpoClip:
    """`-min(r_t A_t, clip(r_t, 1 - clip_low, 1 + clip_high) A_t)`, where `r_t` is current / proximal policy.

    With `dual_clip` = c, what is minimised for A_t < 0 is at most `-c A_t` (Ye et al., arXiv 1912.09729, equation 5):
    the ratio counts as c where it is larger, and the token has no gradient.
    """

    clip_low: float
    clip_high: float
    dual_clip: float | None

    @property
    def columns(self) -> frozenset[str]:
        """See `surrogate.Surrogate`."""
        return frozenset({"advantages_T"})

    def __call__(self, inputs: LossInputs, *, log_ratios_T: Tensor) -> SurrogateTokens:
        """Losses without weights; `log_ratios_T` is log(current / proximal) with its gradient."""
        ratios_T, advantages_T = ratios_of(log_ratios_T), inputs["advantages_T"]
        tokens = clip_ratios(ratios_T, advantages_T=advantages_T, clip_low=self.clip_low, clip_high=self.clip_high)
        if self.dual_clip is None:
            return tokens
        beyond_T = (advantages_T < 0) & (ratios_T > self.dual_clip)
        losses_T = torch.where(beyond_T, -self.dual_clip * advantages_T, tokens.losses_T)
        return SurrogateTokens(losses_T, tokens.clipped_T | beyond_T)
