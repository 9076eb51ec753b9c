"""Data sets in given shares, which may change over the steps of a stage."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlpost.data.samplers.rows import SampledRows
from rlpost.data.samplers.shuffled import ShuffledEpochs
from rlpost.errors import DataError
from rlpost.recipe.sampler import MixtureConfig
from rlpost.records import RolloutGroup

_ROUNDING = 1e-9
_NEVER = 10**15
"""More rows than any stage takes."""
_LOOK_AHEAD_ROWS = 10_000
"""Shares are assumed not to change beyond this number of rows ahead."""


class MixtureSampler:
    """Takes rows of each data set so that after any number of rows every data set is less than one row off its share.

    The claim of a data set up to row n is the sum of its shares at each of the n rows. Its j-th row may come once the
    claim is above j - 1, and is due when the claim reaches j; of the rows that may come, the one that is due first
    comes next. A schedule with deviations below 1 exists for any shares (Tijdeman 1980, "The chairman assignment
    problem"). Scheduling by the earliest deadline finds one, since every row takes one place.

    A step is over when `observe` is called. Where a step takes more rows than `rows_per_step` (dynamic sampling), or
    rows are taken ahead, changing shares are looked ahead at approximately, and the deviation may pass 1 a little.
    """

    def __init__(self, config: MixtureConfig, rows: SampledRows, *, seed: int, rows_per_step: int) -> None:
        self._config, self._rows, self._rows_per_step = config, rows, rows_per_step
        by_dataset = rows.by_dataset()
        missing = [name for name in config.ever_taken() if name not in by_dataset]
        if missing:
            raise DataError(
                f"every data set of sampler.mix must have rows; {missing[0]} has none that can be used (those that are "
                "held out, too long or below least_score do not count): give it other rows, or take it out of mix and "
                "data"
            )
        self._indices = {name: by_dataset.get(name, np.empty(0, np.int64)) for name in config.mix}
        self._epochs = {
            name: _epochs_of(name, indices, seed) for name, indices in self._indices.items() if len(indices)
        }
        self._taken = dict.fromkeys(config.mix, 0)
        self._owed = dict.fromkeys(config.mix, 0.0)
        """The sum of the shares up to now, less the rows taken: how many rows a data set is behind."""
        self._step, self._taken_in_step = 0, 0
        self._shares: dict[int, dict[str, float]] = {}

    def next(self, count: int) -> list[int]:
        """Return the indices of the next `count` rows."""
        return [self._take() for _ in range(count)]

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """End a step; scores change nothing."""
        self._step, self._taken_in_step = self._step + 1, 0
        self._shares = {}

    def state(self) -> dict[str, Any]:
        """Return the step, and for each data set the rows taken and the rows that it is behind its share."""
        state = {
            "step": self._step,
            "taken_in_step": self._taken_in_step,
            "taken": dict(self._taken),
            "owed": dict(self._owed),
        }
        return self._rows.tied(state, kind=self._config.kind)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue behind the rows that were taken."""
        self._rows.check_tied(state, kind=self._config.kind)
        self._step, self._taken_in_step, self._shares = state["step"], state["taken_in_step"], {}
        self._taken, self._owed = dict(state["taken"]), dict(state["owed"])

    def _take(self) -> int:
        shares = self._shares_at(self._step)
        may_come = [name for name, share in shares.items() if self._owed[name] + share > _ROUNDING]
        chosen = min(may_come, key=lambda name: (self._rows_until_due(name), -self._owed[name]))
        for name, share in shares.items():
            self._owed[name] += share - (name == chosen)
        place = self._taken[chosen]
        self._taken[chosen] += 1
        self._taken_in_step += 1
        return int(self._indices[chosen][self._epochs[chosen].at(place, count=1)[0]])

    def _rows_until_due(self, name: str) -> int:
        """Return the number of rows, including the next one, by which one of this data set must have come."""
        missing, step, passed = 1 - _ROUNDING - self._owed[name], self._step, 0
        left = self._rows_per_step - self._taken_in_step % self._rows_per_step
        while True:
            share = self._shares_at(step)[name]
            is_last = step >= self._config.last_change or passed > _LOOK_AHEAD_ROWS
            if is_last or share * left >= missing:
                return passed + math.ceil(missing / share) if share * _NEVER > missing else _NEVER
            missing, passed = missing - share * left, passed + left
            step, left = step + 1, self._rows_per_step

    def _shares_at(self, step: int) -> dict[str, float]:
        step = min(step, self._config.last_change)
        if step not in self._shares:
            self._shares[step] = self._config.shares_at(step)
        return self._shares[step]


def _epochs_of(name: str, indices: NDArray[np.int64], seed: int) -> ShuffledEpochs:
    """Return epochs of one data set, whose order does not depend on the other data sets of the mixture."""
    own = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
    return ShuffledEpochs(len(indices), seed=[seed, own])
