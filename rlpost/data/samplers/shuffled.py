"""Shuffled epochs laid end to end: within an epoch every row comes once, before any comes twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlpost.data.samplers.rows import SampledRows
from rlpost.recipe.sampler import ShuffledConfig
from rlpost.records import RolloutGroup


class ShuffledEpochs:
    """Maps places in shuffled epochs to indices below `row_count`. The order of an epoch depends on (seed, epoch)
    alone.
    """

    def __init__(self, row_count: int, *, seed: Sequence[int]) -> None:
        assert row_count > 0, "an epoch needs rows"
        self._row_count, self._seed = row_count, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def at(self, place: int, *, count: int) -> list[int]:
        """Return the indices at `count` places from `place` on; they may span several epochs."""
        found: list[int] = []
        while len(found) < count:
            epoch, offset = divmod(place + len(found), self._row_count)
            found += self.epoch(epoch)[offset : offset + count - len(found)].tolist()
        return found

    def epoch(self, number: int) -> NDArray[np.int64]:
        """Return the order of one epoch, counted from 0; shape [row_count]."""
        if number != self._epoch:
            first, *rest = self._seed
            self._order = np.random.default_rng([first, number, *rest]).permutation(self._row_count)
            self._epoch = number
        return self._order


class ShuffledSampler:
    """Takes all rows of all data sets in shuffled epochs. Its state is the number of rows taken."""

    def __init__(self, config: ShuffledConfig, rows: SampledRows, *, seed: int, rows_per_step: int) -> None:
        del rows_per_step
        self._kind, self._rows = config.kind, rows
        self._epochs = ShuffledEpochs(len(rows.ids), seed=[seed])
        self._place = 0

    def next(self, count: int) -> list[int]:
        """Return the indices of the next `count` rows of the epochs."""
        place, self._place = self._place, self._place + count
        return self._epochs.at(place, count=count)

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """Scores change nothing."""

    def state(self) -> dict[str, Any]:
        """Return the number of rows taken."""
        return self._rows.tied({"place": self._place}, kind=self._kind)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue behind the rows that were taken."""
        self._rows.check_tied(state, kind=self._kind)
        self._place = state["place"]
