"""The interface of every policy gradient surrogate, and the clip that PPO and GSPO share."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rlpost.interfaces import LossInputs


class SurrogateTokens(NamedTuple):
    """The result of a surrogate for each token; shape [T] each."""

    losses_T: Tensor
    clipped_T: Tensor
    """Marks the tokens that the clip changes; boolean."""


class Surrogate(Protocol):
    """A frozen, picklable dataclass of its coefficients; `policy_loss` composes it with correction and penalty."""

    @property
    def columns(self) -> frozenset[str]:
        """Names of the batch's columns that the surrogate reads."""
        ...

    def __call__(self, inputs: LossInputs, *, log_ratios_T: Tensor) -> SurrogateTokens:
        """Return the losses without weights; `log_ratios_T` is log(current / proximal) with its gradient, shape [T]."""
        ...


def clip_ratios(ratios_T: Tensor, *, advantages_T: Tensor, clip_low: float, clip_high: float) -> SurrogateTokens:
    """Compute `-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)` (PPO, arXiv 1707.06347, equation 7).

    Separate bounds come from DAPO (arXiv 2503.14476, section 3.1). A clipped token has no gradient.
    """
    allowed_T = ratios_T.clamp(1 - clip_low, 1 + clip_high)
    losses_T = -torch.minimum(ratios_T * advantages_T, allowed_T * advantages_T)
    too_low_T = (ratios_T < 1 - clip_low) & (advantages_T < 0)
    too_high_T = (ratios_T > 1 + clip_high) & (advantages_T > 0)
    return SurrogateTokens(losses_T, too_low_T | too_high_T)
