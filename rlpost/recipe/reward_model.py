"""The score of a reward_model stage: its accuracy on pairs that it does not train on."""

from __future__ import annotations

PAIR_ACCURACY = "pair_accuracy"
"""Share of the held-out pairs whose chosen answer gets the higher score; a gate may name it."""

_MOST_HELD_OUT = 512


def held_out_pair_count(pair_count: int) -> int:
    """Return a tenth of the pairs, at least 1 and at most 512."""
    return max(1, min(_MOST_HELD_OUT, pair_count // 10))
