"""Direct preference optimisation, plain and length-normalised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rlpost.interfaces import LossInputs, LossSums
from rlpost.losses.rows import row_sums


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceLoss:
    """The loss `sum over pairs of -log sigmoid(beta * (score_chosen - score_rejected))`.

    A row's score is `sum_t (log pi(token_t) - log pi_ref(token_t))` over its response (DPO, arXiv 2305.18290,
    equation 7), divided by the number of response tokens when `length_normalised` (TULU 3, arXiv 2411.15124,
    equation 6).

    Rows come in adjacent pairs, chosen before rejected. Weights are 1 on response tokens (other weights weigh the sum
    and the mean), and the denominator is the number of pairs. If a row of a pair has no response token, the pair
    expresses no preference and adds nothing.

    Metrics, all means over pairs: `accuracy` (chosen scored above rejected), `chosen_reward` and `rejected_reward`
    (beta * score), and their difference `margin`.
    """

    beta: float
    length_normalised: bool

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`."""
        return frozenset({"reference_logprobs_T"})

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the summed loss of the pairs of one micro-batch."""
        assert inputs.row_count % 2 == 0, f"preference rows come in pairs, found {inputs.row_count} rows"
        log_ratios_T = inputs.weights_T * (inputs.logprobs_T - inputs["reference_logprobs_T"])
        scores_B = row_sums(log_ratios_T, row_T=inputs.row_T, row_count=inputs.row_count)
        lengths_B = row_sums(inputs.weights_T, row_T=inputs.row_T, row_count=inputs.row_count)
        if self.length_normalised:
            scores_B = scores_B / lengths_B.clamp(min=1)

        rewards_B = self.beta * scores_B
        chosen, rejected = rewards_B[0::2], rewards_B[1::2]
        complete = (lengths_B[0::2] > 0) & (lengths_B[1::2] > 0)
        total = torch.where(complete, -F.logsigmoid(chosen - rejected), 0.0).sum()

        chosen, rejected, pair_count = chosen.detach()[complete], rejected.detach()[complete], complete.sum()
        return LossSums(
            total=total,
            means={
                "accuracy": ((chosen > rejected).sum(), pair_count),
                "margin": ((chosen - rejected).sum(), pair_count),
                "chosen_reward": (chosen.sum(), pair_count),
                "rejected_reward": (rejected.sum(), pair_count),
            },
            maxima={},
        )
