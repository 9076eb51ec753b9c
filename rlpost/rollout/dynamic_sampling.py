"""Dynamic sampling: groups whose samples all got one score teach nothing, so others are sampled in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlpost.records import RolloutGroup
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.score_comparison import differ


class SignalFilter:
    """Gives the reason to leave a group out, or None to train on it (DAPO, arXiv 2503.14476, equation 11).

    A group is left out if the scores from which its advantages would be computed are all equal (`has_signal`).

    There is a limit, so that filtering never starves a run: among the prompts issued after one `take` of the buffer,
    the first `max_refill * prompts_per_step`, rounded up, may be left out; every later one is kept, even without
    signal. Groups that were open at that `take` may be left out as well. So with max_staleness 0 a step issues at most
    `(max_refill + 1) * prompts_per_step` prompts, rounded up. The rule sees indices and scores only, never the order of
    arrival: with max_staleness 0, where all open prompts were issued after the last `take`, every order of arrival
    keeps the same groups.
    """

    def __init__(
        self,
        buffer: RolloutBuffer,
        *,
        max_refill: float,
        scores: Callable[[RolloutGroup], Sequence[float] | NDArray[np.float64]],
    ) -> None:
        """`scores` returns the scores from which a group's advantages are computed, without samples that were not
        judged.
        """
        self._buffer, self._scores = buffer, scores
        self._limit = max_refill * buffer.prompts_per_step

    def __call__(self, group: RolloutGroup) -> str | None:
        """Return the reason for leaving the group out, or None."""
        if has_signal(self._scores(group)) or group.index - self._buffer.since_take >= self._limit:
            return None
        return "no signal"


def has_signal(scores: Sequence[float] | NDArray[np.float64]) -> bool:
    """Whether scores differ by more than rounding; without two of them there is nothing to compare."""
    return differ(np.asarray(scores, np.float64).tolist())
