"""The scores of a reward_model stage, from pairs that it does not train on."""

from __future__ import annotations

import math

PAIR_ACCURACY = "pair_accuracy"
"""Share of the held-out pairs whose chosen answer gets the higher score; a gate may name it."""

ABOVE_CHANCE = "above_chance"
"""Number of standard errors by which that share is above one half; a gate of `>= 3` is passed by chance once in a
thousand times, whatever the number of pairs."""

_MOST_HELD_OUT = 512


def errors_above_chance(accuracy: float, *, pair_count: int) -> float:
    """Return how many standard errors an accuracy is above one half, the error being that of guesses."""
    return (accuracy - 0.5) * 2 * math.sqrt(pair_count)


def held_out_pair_count(pair_count: int) -> int:
    """Return a tenth of the pairs, at least 1 and at most 512."""
    return max(1, min(_MOST_HELD_OUT, pair_count // 10))
