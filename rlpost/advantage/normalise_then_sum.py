"""Several rewards per response, each normalised within its group before they are added up: GDPO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage.group_mean import STD_EPSILON, standardised


def normalise_then_sum(
    parts_PGK: Sequence[NDArray[np.float64]], weights_K: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Normalise each part by `(value - group mean) / (group std + 1e-4)`, and divide the weighted sum by its std over
    the step.

    GDPO, arXiv 2601.05242. If the parts were summed first, a part with a small spread would be lost beside one with a
    large spread.

    The results are scores with mean 0 in each group: put them into `GroupScores.scores_G`, and let `advantage_of`
    choose the scheme. Penalties are subtracted there.

    Args:
        parts_PGK: The parts of each group, shape [G, K]; a group may be empty.
        weights_K: Weight of each part.

    Returns:
        An array of shape [G] for each group; zeros for a group of one, which has nothing to be compared with.
    """
    sums = [_weighted(parts_GK, weights_K) for parts_GK in parts_PGK]
    count = sum(len(sums_G) for sums_G in sums if len(sums_G) > 1)
    if count == 0:
        return sums
    # Every group's mean is 0, and so is the step's; it remains to divide by its std (unbiased, over samples).
    std = np.sqrt(sum(float(sums_G @ sums_G) for sums_G in sums) / (count - 1))
    return [sums_G / (std + STD_EPSILON) for sums_G in sums]


def _weighted(parts_GK: NDArray[np.float64], weights_K: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(parts_GK) < 2:
        return np.zeros(len(parts_GK))
    normalised_KG = [standardised(values_G) for values_G in parts_GK.T]
    return weights_K @ np.array(normalised_KG)
