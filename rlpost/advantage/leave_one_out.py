"""Advantages against the mean score of the group's other samples: RLOO."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage.group_mean import dr_grpo


def leave_one_out(scores_G: NDArray[np.float64]) -> NDArray[np.float64]:
    """`score - mean of the other scores`; zero for a group of one.

    RLOO, Ahmadian et al., arXiv 2402.14740. Taking a sample out of its own baseline scales its distance
    from the mean of all G by G / (G - 1).
    """
    if len(scores_G) < 2:
        return np.zeros_like(scores_G)
    return dr_grpo(scores_G) * (len(scores_G) / (len(scores_G) - 1))
