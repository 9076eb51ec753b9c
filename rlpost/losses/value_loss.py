"""The critic's loss: squared error, clipped around the prediction before the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rlpost.interfaces import LossInputs


class ValueTokens(NamedTuple):
    """The result of the loss for each token; shape [T] each."""

    losses_T: Tensor
    clipped_T: Tensor
    """Marks tokens whose clipped prediction has the larger error, and which therefore have no gradient; boolean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueLoss:
    """The loss `max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2) / 2`, times `coefficient` in the total.

    Source: the PPO of OpenAI baselines (PPO2), whose form TULU 3's code uses (arXiv 2411.15124, table 21: clip 0.2,
    coefficient c1 0.1).
    """

    clip: float
    coefficient: float

    def __call__(self, inputs: LossInputs) -> ValueTokens:
        """Return the losses without weights and without the coefficient; needs a learner with a critic."""
        assert inputs.values_T is not None, "a value loss needs a learner with a critic"
        near_old_T = inputs["old_values_T"] + (inputs.values_T - inputs["old_values_T"]).clamp(-self.clip, self.clip)
        errors_T = (inputs.values_T - inputs["returns_T"]).square()
        clipped_errors_T = (near_old_T - inputs["returns_T"]).square()
        return ValueTokens(torch.maximum(errors_T, clipped_errors_T) / 2, clipped_errors_T > errors_T)
