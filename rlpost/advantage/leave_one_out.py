"""Advantages relative to the mean reward of the group's other samples: RLOO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage.sequence_rewards import centred, spread_over_tokens
from rlpost.interfaces import GroupScores


def leave_one_out(groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
    """Compute `reward - mean of the other rewards`; zeros for a group of one.

    RLOO, Ahmadian et al., arXiv 2402.14740. Leaving a sample out of its own baseline scales its distance from the mean
    of all G samples by G / (G - 1).
    """
    return spread_over_tokens(groups, lambda rewards_G: centred(rewards_G) * (len(rewards_G) / (len(rewards_G) - 1)))
