"""Shared parts of the schemes that use one reward per response and give all its tokens the same advantage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlpost.interfaces import GroupScores
from rlpost.score_comparison import exceeds


def sequence_rewards(group: GroupScores) -> NDArray[np.float64]:
    """Subtract the penalties of all tokens from the score; shape [G]."""
    return group.scores_G - np.array([penalties_T.sum() for penalties_T in group.penalties_GT], np.float64)


def spread_over_tokens(
    groups: Sequence[GroupScores], scheme: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[list[NDArray[np.float64]]]:
    """Apply a scheme of rewards [G] -> advantages [G] to each group; zeros if there is nothing to be compared with."""
    result: list[list[NDArray[np.float64]]] = []
    for group in groups:
        rewards_G = sequence_rewards(group)
        advantages_G = scheme(rewards_G) if len(rewards_G) > 1 else np.zeros_like(rewards_G)
        result.append(
            [
                np.full(len(penalties_T), advantage)
                for advantage, penalties_T in zip(advantages_G, group.penalties_GT, strict=True)
            ]
        )
    return result


def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the mean from the values; exact zeros if all are equal, or differ by rounding. Shape [N], with N of 1 or
    more.
    """
    # The first value is subtracted first, because the computed mean of three times 0.1 is not 0.1.
    if not exceeds(float(values.max()), float(values.min())):
        return np.zeros_like(values)
    offsets = values - values[0]
    return offsets - offsets.mean()
