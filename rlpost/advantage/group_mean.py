"""Advantages against the mean score of the group: GRPO and Dr. GRPO."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STD_EPSILON = 1e-4
"""Keeps the quotient finite for groups of nearly equal scores; small against any score that means something."""


def grpo(scores_G: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(score - mean) / (std + 1e-4)` with the unbiased std; zeros for a group of one.

    DeepSeekMath, arXiv 2402.03300, section 4.1.2.
    """
    if len(scores_G) < 2:
        return np.zeros_like(scores_G)
    return _centred(scores_G) / (np.std(scores_G, ddof=1) + STD_EPSILON)


def dr_grpo(scores_G: NDArray[np.float64]) -> NDArray[np.float64]:
    """`score - mean`; zero for a group of one.

    Dr. GRPO, arXiv 2503.20783, section 3.2: the std would weigh up prompts that are almost always or almost never
    answered well.
    """
    if len(scores_G) < 2:
        return np.zeros_like(scores_G)
    return _centred(scores_G)


def _centred(scores_G: NDArray[np.float64]) -> NDArray[np.float64]:
    # Against the first score, so that equal scores give exact zeros: the mean of three times 0.1 is not 0.1.
    offsets_G = scores_G - scores_G[0]
    return offsets_G - offsets_G.mean()
