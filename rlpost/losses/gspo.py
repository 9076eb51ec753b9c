"""Group sequence policy optimisation: one ratio per response."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rlpost.interfaces import LossInputs
from rlpost.losses.ratios import ratios_of
from rlpost.losses.rows import row_means
from rlpost.losses.surrogate import SurrogateTokens, clip_ratios


@dataclass(frozen=True, kw_only=True, slots=True)
class Gspo:
    """The loss `-min(s_i A_t, clip(s_i, 1 - clip_low, 1 + clip_high) A_t)` (arXiv 2507.18071, equations 5 and 7).

    `s_i = exp(mean over the row of log(current / proximal))` is the same for all tokens of row i, and the gradient
    flows through all of them. The paper averages over rows: normalisation `sequence`.
    """

    clip_low: float
    clip_high: float

    @property
    def columns(self) -> frozenset[str]:
        """See `surrogate.Surrogate`."""
        return frozenset({"advantages_T"})

    def __call__(self, inputs: LossInputs, *, log_ratios_T: Tensor) -> SurrogateTokens:
        """Return the losses without weights; `log_ratios_T` is log(current / proximal) with its gradient."""
        log_ratios_B = row_means(log_ratios_T, row_T=inputs.row_T, row_count=inputs.row_count)
        return clip_ratios(
            ratios_of(log_ratios_B)[inputs.row_T],
            advantages_T=inputs["advantages_T"],
            clip_low=self.clip_low,
            clip_high=self.clip_high,
        )
