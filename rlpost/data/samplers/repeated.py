"""Data sets that come several times, or in part, in each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlpost.data.samplers.rows import SampledRows
from rlpost.data.samplers.shuffled import ShuffledEpochs
from rlpost.errors import DataError
from rlpost.recipe.sampler import RepeatedConfig
from rlpost.records import RolloutGroup


class RepeatedSampler:
    """Takes, in each shuffled epoch, every data set as often as the recipe says. Its state is the number of rows taken.

    A data set of n rows with `times` t gives round(t n) rows: each row floor(t) times, and a part of the rows, drawn
    once from the seed, once more.
    """

    def __init__(self, config: RepeatedConfig, rows: SampledRows, *, seed: int, rows_per_step: int) -> None:
        del rows_per_step
        self._kind, self._rows = config.kind, rows
        by_dataset = rows.by_dataset()
        parts = [
            _taken(indices, count=config.count_of(name, len(indices)), seed=[seed, _number_of(name)])
            for name, indices in by_dataset.items()
        ]
        self._indices = np.concatenate(parts)
        if not len(self._indices):
            raise DataError(f"sampler.times takes no row of {', '.join(by_dataset)}: raise one of the numbers")
        self._epochs = ShuffledEpochs(len(self._indices), seed=[seed])
        self._place = 0

    def next(self, count: int) -> list[int]:
        """Return the indices of the next `count` rows of the epochs."""
        place, self._place = self._place, self._place + count
        return self._indices[self._epochs.at(place, count=count)].tolist()

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """Scores change nothing."""

    def state(self) -> dict[str, Any]:
        """Return the number of rows taken."""
        return self._rows.tied({"place": self._place}, kind=self._kind)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue behind the rows that were taken."""
        self._rows.check_tied(state, kind=self._kind)
        self._place = state["place"]


def _taken(indices: NDArray[np.int64], *, count: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return `count` indices: all of them as often as they fit, and a part of them once more."""
    whole, rest = divmod(count, len(indices))
    drawn = np.sort(np.random.default_rng(seed).permutation(len(indices))[:rest])
    return np.concatenate([np.tile(indices, whole), indices[drawn]])


def _number_of(name: str) -> int:
    """Return a number for a data set, so that its part does not depend on the other data sets."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
