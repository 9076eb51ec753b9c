"""Reductions from tokens to their rows."""

from __future__ import annotations

import torch
from torch import Tensor


def row_sums(values_T: Tensor, *, row_T: Tensor, row_count: int) -> Tensor:
    """Sum the values of each row.

    Args:
        values_T: One value per token; shape [T].
        row_T: Index of each token's row, int64; shape [T].
        row_count: Number of rows of the micro-batch; a row without tokens sums to 0.

    Returns:
        Shape [B], on the device of `values_T`, with its gradient.
    """
    return values_T.new_zeros(row_count).index_add(0, row_T, values_T)


def row_means(values_T: Tensor, *, row_T: Tensor, row_count: int) -> Tensor:
    """Average the values of each row, 0 for a row without tokens; arguments and result are those of `row_sums`."""
    lengths_B = row_sums(torch.ones_like(values_T), row_T=row_T, row_count=row_count)
    return row_sums(values_T, row_T=row_T, row_count=row_count) / lengths_B.clamp(min=1)
