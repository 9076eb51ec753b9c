"""CISPO: a policy gradient weighted by a capped ratio, so that every token keeps its gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rlpost.interfaces import LossInputs
from rlpost.losses.ratios import ratios_of
from rlpost.losses.surrogate import SurrogateTokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Cispo:
    """The loss `-min(r_t, cap) A_t log pi(token_t)`, with no gradient through the ratio (arXiv 2506.13585, equations 4
    and 5).

    There is no lower bound; the paper does not use one either.
    """

    cap: float

    @property
    def columns(self) -> frozenset[str]:
        """See `surrogate.Surrogate`."""
        return frozenset({"advantages_T"})

    def __call__(self, inputs: LossInputs, *, log_ratios_T: Tensor) -> SurrogateTokens:
        """Return the losses without weights; `log_ratios_T` is log(current / proximal)."""
        ratios_T = ratios_of(log_ratios_T.detach())
        losses_T = -ratios_T.clamp(max=self.cap) * inputs["advantages_T"] * inputs.logprobs_T
        return SurrogateTokens(losses_T, (ratios_T > self.cap) & (inputs["advantages_T"] != 0))
