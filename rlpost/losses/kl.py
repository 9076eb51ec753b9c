"""Per-token estimates of a KL divergence from samples of one of the two distributions.

Source: J. Schulman, "Approximating KL Divergence", http://joschu.net/blog/kl-approx.html. With tokens sampled from p,
the mean of each estimates KL(p || q).
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Log-ratios are cut off at this size before `exp`: e^20 is 5e8, far from overflow in float32 even when summed."""


def k1(logprobs_T: Tensor, *, other_logprobs_T: Tensor) -> Tensor:
    """`log p - log q`: unbiased, of high variance, negative for some tokens; shape [T]."""
    return logprobs_T - other_logprobs_T


def k2(logprobs_T: Tensor, *, other_logprobs_T: Tensor) -> Tensor:
    """`(log p - log q)^2 / 2`: biased, of low variance, never negative; shape [T]."""
    return (logprobs_T - other_logprobs_T).square() / 2


def k3(logprobs_T: Tensor, *, other_logprobs_T: Tensor) -> Tensor:
    """`q/p - 1 - log(q/p)`: unbiased, of low variance, never negative; shape [T].

    The log-ratio is cut off at `MAX_LOG_RATIO`; a token beyond it has no gradient.
    """
    log_ratios_T = (other_logprobs_T - logprobs_T).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(log_ratios_T) - log_ratios_T
