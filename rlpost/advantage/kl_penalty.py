"""The penalty for leaving the reference model, subtracted from the reward token by token."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlpost.losses.ratios import MAX_LOG_RATIO


def kl_penalty(
    estimator: Literal["k1", "k2", "k3"], logprobs_T: NDArray[np.float64], *, reference_logprobs_T: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Estimate KL(policy || reference) at each token, by the formulas of `losses.kl`; shape [T].

    Args:
        estimator: Name of the estimator. TULU 3 and RLOO use k1: it is unbiased, and negative for some tokens.
        logprobs_T: Log-probabilities under the policy that sampled the tokens.
        reference_logprobs_T: Log-probabilities under the reference model.
    """
    log_ratios_T = reference_logprobs_T - logprobs_T
    match estimator:
        case "k1":
            return -log_ratios_T
        case "k2":
            return np.square(log_ratios_T) / 2
        case "k3":
            cut_T = np.clip(log_ratios_T, -MAX_LOG_RATIO, MAX_LOG_RATIO)
            return np.expm1(cut_T) - cut_T
