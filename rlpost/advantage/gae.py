"""Generalised advantage estimation, and the whitening of a step's advantages; used by PPO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage.sequence_rewards import centred

VARIANCE_EPSILON = 1e-8
"""Keeps rounding noise from being scaled to variance 1 in a step whose values are all equal."""


class Estimate(NamedTuple):
    """The result of GAE; all arrays have shape [T]."""

    advantages_T: NDArray[np.float64]
    returns_T: NDArray[np.float64]
    """The value that the critic should have predicted: advantages + values."""


def gae(
    rewards_T: NDArray[np.float64], values_T: NDArray[np.float64], *, discount: float, trace_decay: float
) -> Estimate:
    """Compute `A_t = sum_l (discount * trace_decay)^l delta_(t+l)`, `delta_t = reward_t + discount * V_(t+1) - V_t`.

    Schulman et al., arXiv 1506.02438, equation 16. `values_T[t]` is the value of the state in which token t is chosen;
    after the last token, whether the response was cut off or not, the value is 0.
    """
    next_values_T = np.append(values_T[1:], 0.0)
    deltas_T = rewards_T + discount * next_values_T - values_T
    advantages_T = np.empty_like(deltas_T)
    following = 0.0
    for index in reversed(range(len(deltas_T))):
        following = deltas_T[index] + discount * trace_decay * following
        advantages_T[index] = following
    return Estimate(advantages_T, advantages_T + values_T)


def whitened(advantages: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Scale the arrays to mean 0 and variance 1 over all their tokens together; zeros if all values are equal."""
    if not sum(map(len, advantages)):
        return [advantages_T.copy() for advantages_T in advantages]
    flat = centred(np.concatenate(advantages))
    flat /= np.sqrt(flat.var() + VARIANCE_EPSILON)
    return np.split(flat, np.cumsum([len(advantages_T) for advantages_T in advantages])[:-1])
