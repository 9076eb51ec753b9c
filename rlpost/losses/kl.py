"""Per-token estimates of a KL divergence from samples of one of the two distributions, and the resulting penalty.

Source: J. Schulman, "Approximating KL Divergence", http://joschu.net/blog/kl-approx.html. For tokens sampled from p,
the mean of each estimate approximates KL(p || q). `advantage.kl_penalty` uses the same formulas for penalties in the
reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlpost.interfaces import LossInputs
from rlpost.losses.ratios import MAX_LOG_RATIO

Estimator = Literal["k1", "k2", "k3"]


def k1(logprobs_T: Tensor, *, other_logprobs_T: Tensor) -> Tensor:
    """Return `log p - log q`: unbiased, of high variance, negative for some tokens; shape [T]."""
    return logprobs_T - other_logprobs_T


def k2(logprobs_T: Tensor, *, other_logprobs_T: Tensor) -> Tensor:
    """Return `(log p - log q)^2 / 2`: biased, of low variance, never negative; shape [T]."""
    return (logprobs_T - other_logprobs_T).square() / 2


def k3(logprobs_T: Tensor, *, other_logprobs_T: Tensor) -> Tensor:
    """Return `q/p - 1 - log(q/p)`: unbiased, of low variance, never negative; shape [T].

    The log-ratio is clamped at `MAX_LOG_RATIO`; a clamped token has no gradient.
    """
    log_ratios_T = (other_logprobs_T - logprobs_T).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(log_ratios_T) - log_ratios_T


@dataclass(frozen=True, kw_only=True, slots=True)
class KlPenalty:
    """The loss term `coefficient * estimate of KL(policy || reference)` for every token.

    DeepSeekMath, arXiv 2402.03300, equation 4, uses k3 here. The gradient of k1 is that of the log-probability, whose
    mean under the policy is 0: k1 is useful only in the reward, and a recipe that puts it into the loss is refused.
    """

    coefficient: float
    estimator: Estimator

    def estimates(self, inputs: LossInputs) -> Tensor:
        """Return the estimates without the coefficient; shape [T]."""
        estimate = {"k1": k1, "k2": k2, "k3": k3}[self.estimator]
        return estimate(inputs.logprobs_T, other_logprobs_T=inputs["reference_logprobs_T"])
