"""PPO's clipped surrogate with an optional KL penalty: the loss of GRPO, Dr. GRPO and RLOO."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlpost.interfaces import LossInputs, LossSums
from rlpost.losses.kl import MAX_LOG_RATIO, k3


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyGradient:
    """`sum_t weight_t * (-min(r_t A_t, clip(r_t, 1 - clip_low, 1 + clip_high) A_t) + kl_coefficient * k3_t)`.

    `r_t` is the ratio of the current policy to the one that sampled the token (PPO, arXiv 1707.06347, equation 7; the
    two bounds apart: DAPO, arXiv 2503.14476, section 3.1), and `k3_t` the estimate of KL(policy || reference)
    (DeepSeekMath, arXiv 2402.03300, equations 3 and 4). How tokens are averaged is in the weights and the denominator,
    see `losses.normalisation`. The log of `r_t` is cut off at +-20; a token beyond it has no gradient.

    Metrics over the weighted tokens: `clip_fraction` (tokens whose gradient the clip removes), `ratio_mean`,
    `ratio_max`, `logprob_gap_mean` and `logprob_gap_max` (|log-probability now - when sampled|), and `kl_reference`
    when `kl_coefficient` is above 0.
    """

    clip_low: float
    clip_high: float
    kl_coefficient: float

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """The summed loss of one micro-batch."""
        log_ratios_T = inputs.logprobs_T - inputs.behaviour_logprobs_T
        ratios_T = log_ratios_T.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        clipped_T = ratios_T.clamp(1 - self.clip_low, 1 + self.clip_high)
        surrogate_T = torch.minimum(ratios_T * inputs.advantages_T, clipped_T * inputs.advantages_T)
        losses_T = -surrogate_T

        token_count = float(len(losses_T))
        means = self._ratio_means(ratios_T.detach(), advantages_T=inputs.advantages_T)
        if self.kl_coefficient > 0:
            kl_T = k3(inputs.logprobs_T, other_logprobs_T=inputs.reference_logprobs_T)
            losses_T = losses_T + self.kl_coefficient * kl_T
            means["kl_reference"] = kl_T.detach().sum()

        gaps_T = log_ratios_T.detach().abs()
        means["logprob_gap_mean"] = gaps_T.sum()
        return LossSums(
            total=(inputs.weights_T * losses_T).sum(),
            means={name: (value, token_count) for name, value in means.items()},
            maxima={"ratio_max": _largest(ratios_T.detach()), "logprob_gap_max": _largest(gaps_T)},
        )

    def _ratio_means(self, ratios_T: Tensor, *, advantages_T: Tensor) -> dict[str, Tensor]:
        cut_low_T = (ratios_T < 1 - self.clip_low) & (advantages_T < 0)
        cut_high_T = (ratios_T > 1 + self.clip_high) & (advantages_T > 0)
        return {"clip_fraction": (cut_low_T | cut_high_T).sum(), "ratio_mean": ratios_T.sum()}


def _largest(values_T: Tensor) -> Tensor:
    """The maximum of values that are not negative; 0 for a micro-batch in which no token carries a weight."""
    return values_T.max() if len(values_T) else values_T.new_zeros(())
