"""A batch cut into shares: each learner rank gets its own rows, and the micro-batches that they form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from rlpost.errors import RecipeError
from rlpost.interfaces import LossFn
from rlpost.learner.packing import plan_micro_batches
from rlpost.records import FloatArray
from rlpost.train_records import TrainBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchShare:
    """One rank's part of a batch. The caller of all ranks makes it; one rank takes it."""

    batch: TrainBatch
    """The rows of this rank only; components keep the denominators of the whole batch."""
    micro_batches: tuple[tuple[int, ...], ...]
    """Rows of `batch` for each forward pass; every rank has the same number of passes, empty ones included."""
    token_count: int
    """Number of tokens of the whole batch."""
    scored_count: int
    """Number of tokens of the whole batch with a loss weight other than 0."""


class SharedBatch(NamedTuple):
    """All shares of a batch, and the batch rows in each share."""

    shares: list[BatchShare]
    rows: list[list[int]]

    def joined(self, parts: Sequence[FloatArray], batch: TrainBatch) -> FloatArray:
        """Combine the values of each share's tokens into one value per token of `batch`."""
        whole_T = np.zeros(len(batch.token_ids), np.float32)
        ends_B = np.cumsum(batch.row_lengths_B, dtype=np.int64)
        starts_B = ends_B - batch.row_lengths_B
        for rows, part_T in zip(self.rows, parts, strict=True):
            start = 0
            for row in rows:
                length = int(batch.row_lengths_B[row])
                whole_T[starts_B[row] : ends_B[row]] = part_T[start : start + length]
                start += length
        return whole_T


def shares_of(batch: TrainBatch, *, ranks: int, token_budget: int) -> SharedBatch:
    """Balance the rows over the ranks and plan each rank's micro-batches of at most `token_budget` tokens."""
    plan = plan_micro_batches(batch, ranks=ranks, token_budget=token_budget)
    token_count, scored_count = len(batch.token_ids), int(np.count_nonzero(batch.weights_T))
    shares: list[BatchShare] = []
    rows_of_ranks: list[list[int]] = []
    for micro_batches in plan:
        rows = [row for micro_batch in micro_batches for row in micro_batch]
        place = {row: index for index, row in enumerate(rows)}
        shares.append(
            BatchShare(
                # Names of rows serve only messages, which the caller writes, so a rank does not get them.
                batch=replace(batch if rows == list(range(len(batch.row_lengths_B))) else batch.rows(rows), sources=()),
                micro_batches=tuple(tuple(place[row] for row in micro_batch) for micro_batch in micro_batches),
                token_count=token_count,
                scored_count=scored_count,
            )
        )
        rows_of_ranks.append(rows)
    return SharedBatch(shares, rows_of_ranks)


def require_columns(batch: TrainBatch, loss: LossFn) -> None:
    """Check that a batch has the columns that a loss reads.

    With several components, a batch may lack a column that only an absent component reads; `LossInputs` raises an error
    if a loss then reads a missing column.

    Raises:
        RecipeError: the batch lacks such a column.
    """
    missing = sorted(loss.columns - batch.columns.keys())
    if missing and len(batch.components) == 1:
        raise RecipeError(
            f"a loss must find every column that it declares; {type(loss).__name__} reads {', '.join(missing)}, and "
            f"the batch has {', '.join(batch.columns) or 'no columns'}: fill the column in, or choose another loss"
        )
