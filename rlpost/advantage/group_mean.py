"""Advantages relative to the mean reward of the group: GRPO and Dr. GRPO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage.sequence_rewards import centred, spread_over_tokens
from rlpost.interfaces import GroupScores

STD_EPSILON = 1e-4
"""Keeps the quotient finite for groups of nearly equal rewards; it is small against any meaningful reward."""


def grpo(groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
    """Compute `(reward - mean) / (std + 1e-4)` with the unbiased std of the group; zeros for a group of one.

    DeepSeekMath, arXiv 2402.03300, section 4.1.2.
    """
    return spread_over_tokens(groups, standardised)


def dr_grpo(groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
    """Compute `reward - mean of the group`; zeros for a group of one.

    Dr. GRPO, arXiv 2503.20783, section 3.2: dividing by the std would give more weight to prompts that are almost
    always or almost never answered well.
    """
    return spread_over_tokens(groups, centred)


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute `(value - mean) / (unbiased std + 1e-4)`; exact zeros if all are equal. Shape [N], with N of 2 or
    more.
    """
    return centred(values) / (np.std(values, ddof=1) + STD_EPSILON)
