"""The Bradley-Terry loss: a reward model should score the chosen response above the rejected one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rlpost.interfaces import LossInputs, LossSums
from rlpost.losses.rows import row_sums


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardModelLoss:
    """The loss `sum over pairs of -log sigmoid(score_chosen - score_rejected)` (Ouyang et al., arXiv 2203.02155,
    equation 1).

    A row's score is `values_T` at the single token that carries its weight. Rows come in adjacent pairs, chosen before
    rejected; the denominator is the number of pairs. If a row of a pair has no such token, the pair adds nothing.

    Metrics, means over pairs: `accuracy` (chosen scored above rejected) and `margin` (difference of the scores).
    """

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`; this loss needs only scores."""
        return frozenset()

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the summed loss of the pairs of one micro-batch."""
        assert inputs.values_T is not None, "a reward model's loss needs a learner with a score head"
        assert inputs.row_count % 2 == 0, f"preference rows come in pairs, found {inputs.row_count} rows"
        assert len(inputs.row_T) <= inputs.row_count, "each row must carry its weight on one token"
        scores_B = row_sums(inputs.values_T, row_T=inputs.row_T, row_count=inputs.row_count)
        found_B = row_sums(torch.ones_like(inputs.values_T), row_T=inputs.row_T, row_count=inputs.row_count) > 0
        margins = scores_B[0::2] - scores_B[1::2]
        complete = found_B[0::2] & found_B[1::2]
        margins_found = margins.detach()[complete]
        return LossSums(
            total=torch.where(complete, -F.logsigmoid(margins), 0.0).sum(),
            means={
                "accuracy": ((margins_found > 0).sum(), complete.sum()),
                "margin": (margins_found.sum(), complete.sum()),
            },
            maxima={},
        )
