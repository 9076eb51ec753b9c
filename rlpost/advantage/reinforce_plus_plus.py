"""REINFORCE++: returns per token, normalised over all tokens of the step (arXiv 2501.03262)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage.gae import whitened
from rlpost.advantage.sequence_rewards import centred
from rlpost.interfaces import GroupScores


def reinforce_plus_plus(groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
    """Compute `A_t = score - sum of the penalties from t on`, scaled to mean 0 and variance 1 over all tokens of the
    step.

    There is no group baseline: the samples of a prompt are compared with those of all other prompts. The result is zero
    if all tokens of the step have the same return.
    """
    returns_PGT = [
        [
            _returns_to_go(score, penalties_T)
            for score, penalties_T in zip(group.scores_G, group.penalties_GT, strict=True)
        ]
        for group in groups
    ]
    return _whitened_over_the_step(returns_PGT)


def reinforce_plus_plus_baseline(groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
    """Like `reinforce_plus_plus`, with `score - mean score of the group` instead of the score.

    The paper puts the KL penalty of this variant into the loss; a penalty in the reward is subtracted from t on, as in
    REINFORCE++ (and in OpenRLHF). A group of one has nothing to be compared with: it gets zeros, and is left out of the
    mean and variance of the step. A group of equal scores is included in them, so its advantages are not exactly 0.
    """
    comparable = [group for group in groups if len(group.scores_G) > 1]
    returns_PGT = [
        [
            _returns_to_go(score, penalties_T)
            for score, penalties_T in zip(centred(group.scores_G), group.penalties_GT, strict=True)
        ]
        for group in comparable
    ]
    advantages = iter(_whitened_over_the_step(returns_PGT))
    return [
        next(advantages)
        if len(group.scores_G) > 1
        else [np.zeros_like(penalties_T) for penalties_T in group.penalties_GT]
        for group in groups
    ]


def _returns_to_go(score: float, penalties_T: NDArray[np.float64]) -> NDArray[np.float64]:
    return score - np.cumsum(penalties_T[::-1])[::-1]


def _whitened_over_the_step(returns_PGT: Sequence[Sequence[NDArray[np.float64]]]) -> list[list[NDArray[np.float64]]]:
    flat = iter(whitened([returns_T for returns_GT in returns_PGT for returns_T in returns_GT]))
    return [list(islice(flat, len(returns_GT))) for returns_GT in returns_PGT]
