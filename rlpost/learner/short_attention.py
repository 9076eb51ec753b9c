"""Causal attention over rows of up to some hundred tokens in bfloat16 on CPU, by matrix products.

torch's fused attention on CPU is made for long rows: for rows of 32 to 512 tokens its backward pass takes two to five
times as long as the few matrix products that it avoids. Scores are float32, as in fused attention; their softmax is
kept in bfloat16 for the backward pass, half a square of the row's width for every head.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

MOST_WIDTH = 512
"""Longest row for which this is faster, and the kept softmax no larger than the float32 copies that fused attention
needs for rows of this length."""
_BLOCK = 256
"""Number of queries of a matrix product. They see the keys up to the last of them, so fewer queries waste less."""


def short_attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float | None) -> Tensor:
    """Return softmax(scale query key^T) value, in which each token sees itself and the tokens before it.

    Args:
        query: Shape [rows, heads, width of the rows, head width].
        key: Shape [rows, key heads, width of the rows, head width]; each serves `heads / key heads` query heads.
        value: Shape as `key`, its head width may differ.
        scale: Factor of the scores; None means 1 / sqrt(head width).
    """
    factor = query.shape[3] ** -0.5 if scale is None else scale
    # torch does not type the `apply` of a Function.
    return _ShortAttention.apply(query, key, value, factor)  # pyright: ignore[reportReturnType] apply is typed as any object


class _ShortAttention(torch.autograd.Function):
    """Products have the shapes [N, S x queries, keys], where N = rows x key heads, and S query heads use each key head;
    the queries of one head come after those of another.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        query, key, value, scale = arguments
        rows, heads, width, _ = query.shape
        shared = heads // key.shape[1]
        keys, values = key.flatten(0, 1), value.flatten(0, 1)
        keys_float = keys.float().transpose(1, 2)
        shares: list[Tensor] = []
        output = query.new_empty(rows, heads, width, value.shape[3])
        for start, stop in _blocks(width):
            queries = _block_of(query, start, stop, shared=shared)
            scores = torch.baddbmm(
                _unseen(start, stop, shared).expand(len(keys), -1, -1),
                queries.float(),
                keys_float[:, :, :stop],
                alpha=scale,
            )
            shares.append(scores.softmax(dim=2).to(query.dtype))
            output[:, :, start:stop] = (shares[-1] @ values[:, :stop]).view(rows, heads, stop - start, -1)
        ctx.save_for_backward(query, key, value, *shares)
        ctx.scale = scale
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *shares = ctx.saved_tensors
        rows, heads, width, _ = query.shape
        shared = heads // key.shape[1]
        keys, values = key.flatten(0, 1), value.flatten(0, 1)
        query_gradient = torch.empty_like(query)
        of_keys: list[Tensor] = []
        of_values: list[Tensor] = []
        for (start, stop), share in zip(_blocks(width), shares, strict=True):
            slope = _block_of(grad_outputs[0], start, stop, shared=shared)
            of_values.append(share.transpose(1, 2) @ slope)
            share_slope = slope @ values[:, :stop].transpose(1, 2)
            score_slope = torch.ops.aten._softmax_backward_data(share_slope, share, 2, share.dtype).mul_(ctx.scale)
            of_keys.append(score_slope.transpose(1, 2) @ _block_of(query, start, stop, shared=shared))
            found = score_slope @ keys[:, :stop]
            query_gradient[:, :, start:stop] = found.view(rows, heads, stop - start, -1)
        return query_gradient, _added(of_keys).view_as(key), _added(of_values).view_as(value), None


def _blocks(width: int) -> list[tuple[int, int]]:
    return [(start, min(start + _BLOCK, width)) for start in range(0, width, _BLOCK)]


def _added(parts: Sequence[Tensor]) -> Tensor:
    """Add up gradients of keys, of which each block has some more than the one before it."""
    if len(parts) == 1:
        return parts[0]
    # In bfloat16 each sum would be rounded.
    total = parts[-1].float()
    for part in parts[:-1]:
        total[:, : part.shape[1]] += part
    return total.to(parts[0].dtype)


def _block_of(tensor: Tensor, start: int, stop: int, *, shared: int) -> Tensor:
    """Return the queries `[start, stop)` of all heads, shape [N, S x queries, head width]."""
    rows, heads, _, head_width = tensor.shape
    return tensor[:, :, start:stop].reshape(rows * heads // shared, shared * (stop - start), head_width)


@lru_cache(maxsize=64)
def _unseen(start: int, stop: int, shared: int) -> Tensor:
    """Return 0 where a query of the block sees a key, and minus infinity elsewhere, shape [S x queries, stop]."""
    return torch.full((stop - start, stop), -torch.inf).triu(1 + start).repeat(shared, 1)
