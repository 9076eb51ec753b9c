"""Which rows each optimizer step uses, as a pure function of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RowIndices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPlan:
    """Shuffled epochs laid end to end and cut into steps: within an epoch every row comes once, before any comes twice.

    The plan has no state, so a resumed stage asks for the step it continues with and gets what it would have had.
    """

    row_count: int
    rows_per_step: int
    seed: int

    def __post_init__(self) -> None:
        assert self.row_count > 0, "a plan needs rows"
        assert self.rows_per_step > 0, "a step needs rows"

    def rows_at(self, step: int) -> RowIndices:
        """Indices of the rows of `step` (0 is the first), shape [rows_per_step]; a step may span two epochs."""
        positions = np.arange(step * self.rows_per_step, (step + 1) * self.rows_per_step)
        epochs, offsets = np.divmod(positions, self.row_count)
        parts = [
            _epoch_order(self.row_count, self.seed, int(epoch))[offsets[epochs == epoch]] for epoch in np.unique(epochs)
        ]
        return np.concatenate(parts)


@lru_cache(maxsize=4)
def _epoch_order(row_count: int, seed: int, epoch: int) -> RowIndices:
    order = np.random.default_rng([seed, epoch]).permutation(row_count)
    order.flags.writeable = False
    return order
