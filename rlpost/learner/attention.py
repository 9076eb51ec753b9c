"""Causal attention over packed rows: each row attends only to itself.

Rows are packed end to end in one sequence. Rows of similar length are padded at their ends and share one fused causal
attention call; no token before the padding sees the padding. The cost is the sum of the squared row lengths, whereas a
block mask costs the square of the sum, and attention row by row would take hundreds of calls.

Layers with a sliding window attend in blocks: a block of queries sees the keys from a window before its first query to
its last, under a mask. Rows that fit the window need no mask. Layers with a soft cap or with sinks, for which torch has
no fused attention, attend in blocks whose scores the backward pass computes again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface

from rlpost.learner.short_attention import MOST_WIDTH, short_attention

SEGMENT_ATTENTION = "rlpost_segments"
MOST_PADDING = 16
"""Most tokens of padding that a row may get in order to share a call with longer rows."""
_SHORT_WIDTH = 256
"""Up to this width, the backward pass of torch's fused attention on CPU is up to 3 times slower in bfloat16 than in
float32."""
_BLOCK = 512
"""Number of queries that share one call where attention is computed in blocks."""


class _Options(NamedTuple):
    """The properties of a layer's attention."""

    scale: float | None
    dropout: float
    window: int | None
    """Number of tokens that a token sees, itself included; None means its whole row so far."""
    softcap: float | None
    """Bound c of the scores, which become `c tanh(score / c)` (Gemma 2)."""
    sinks_N: Tensor | None
    """Learned score of each head that takes part in the softmax and has no value (gpt-oss)."""


class RowGroup(NamedTuple):
    """Rows that share one attention call."""

    rows: int
    width: int
    """Width of every row, padding included."""
    source: Tensor | None
    """Index of the packed token at each position of the group, shape [rows * width]; None means all tokens in order."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Boundaries of the packed rows in the form that attention needs; computed once for all layers.

    This is not a NamedTuple, because FSDP would walk through a NamedTuple at every layer.
    """

    longest: int
    groups: tuple[RowGroup, ...]
    place_T: Tensor | None
    """Position of each packed token when all groups are placed end to end; None means in order."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Segments:
        """Compute the segments of rows with these lengths."""
        widths, longest = set(lengths), max(lengths)
        if len(widths) == 1:
            return cls(longest, (RowGroup(len(lengths), longest, None),), None)
        starts = np.cumsum([0, *lengths[:-1]])
        place_T = np.zeros(sum(lengths), np.int64)
        groups: list[RowGroup] = []
        first_place = 0
        for rows in _rows_of_near_length(lengths):
            width = lengths[rows[0]]
            source: NDArray[np.int64] = np.zeros((len(rows), width), np.int64)
            for place, row in enumerate(rows):
                tokens = starts[row] + np.arange(lengths[row])
                source[place, : lengths[row]] = tokens
                # Padding repeats the last token; its outputs are never read.
                source[place, lengths[row] :] = tokens[-1]
                place_T[tokens] = first_place + place * width + np.arange(lengths[row])
            groups.append(RowGroup(len(rows), width, torch.from_numpy(source.reshape(-1)).to(device)))
            first_place += len(rows) * width
        return cls(longest, tuple(groups), torch.from_numpy(place_T).to(device))


def _rows_of_near_length(lengths: Sequence[int]) -> list[list[int]]:
    """Group the row indices; the longest row of a group comes first."""
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if not groups or lengths[groups[-1][0]] - lengths[row] > MOST_PADDING:
            groups.append([])
        groups[-1].append(row)
    return groups


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Segments,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention with transformers' interface: query [1, heads, T, width], key and value [1, kv heads, T, width].

    Returns [1, T, heads, width]. `segments` is passed through the model's forward unchanged.

    `attention_mask` is the layer's window, one number; None without a window. A window of w lets each token attend to
    itself and the w - 1 tokens before it. Rows are separated by `segments`.
    """
    assert attention_mask is None or attention_mask.ndim == 0, "packed rows are separated by segments, not by a mask"
    window = None if attention_mask is None else int(attention_mask)
    assert query.shape[0] == 1, f"packed rows form one sequence, found {query.shape[0]}"
    options = _Options(scale=scaling, dropout=dropout, window=window, softcap=softcap, sinks_N=s_aux)
    outputs = [_group_attention(query, key, value, group=group, options=options) for group in segments.groups]
    tokens_first = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if segments.place_T is not None:
        tokens_first = tokens_first.index_select(0, segments.place_T)
    return tokens_first[None], None


def _group_attention(query: Tensor, key: Tensor, value: Tensor, *, group: RowGroup, options: _Options) -> Tensor:
    """Return the attention output of a group, shape [rows * width of the group, heads, head width]."""
    is_fused = options.softcap is None and options.sinks_N is None
    sees_all = options.window is None or group.width <= options.window
    on_cpu = query.device.type == "cpu"
    by_products = (
        (is_fused and sees_all and not options.dropout)
        and (on_cpu and query.dtype == torch.bfloat16)
        and group.width <= MOST_WIDTH
    )
    is_short = on_cpu and group.width <= _SHORT_WIDTH and not by_products

    def rows_of(packed: Tensor) -> Tensor:
        tokens_first = packed[0].transpose(0, 1)
        if group.source is not None:
            tokens_first = tokens_first.index_select(0, group.source)
        rows = tokens_first.reshape(group.rows, group.width, *tokens_first.shape[1:]).transpose(1, 2)
        return rows.float() if is_short else rows

    rows = rows_of(query), rows_of(key), rows_of(value)
    if by_products:
        output = short_attention(*rows, scale=options.scale)
    elif is_fused and sees_all:
        output = _fused(*rows, None, options=options)
    else:
        output = _in_blocks(*rows, attend=_fused if is_fused else _recomputed, options=options)
    return output.to(query.dtype).transpose(1, 2).reshape(-1, query.shape[1], value.shape[3])


def _in_blocks(
    query: Tensor, key: Tensor, value: Tensor, *, attend: Callable[..., Tensor], options: _Options
) -> Tensor:
    """Attend block by block; all shapes are [rows, heads, width of the rows, head width]."""
    width = query.shape[2]
    window = width if options.window is None else options.window
    outputs: list[Tensor] = []
    for start in range(0, width, _BLOCK):
        stop = min(start + _BLOCK, width)
        first = max(0, start - window + 1)
        places = torch.arange(first, stop, device=query.device)
        distance_QK = places[start - first :, None] - places[None]
        is_seen_QK = (distance_QK >= 0) & (distance_QK < window)
        block = query[:, :, start:stop], key[:, :, first:stop], value[:, :, first:stop]
        outputs.append(attend(*block, is_seen_QK, options=options))
    return torch.cat(outputs, dim=2)


def _fused(query: Tensor, key: Tensor, value: Tensor, is_seen_QK: Tensor | None, *, options: _Options) -> Tensor:
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=is_seen_QK,
        is_causal=is_seen_QK is None,
        scale=options.scale,
        dropout_p=options.dropout,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _recomputed(query: Tensor, key: Tensor, value: Tensor, is_seen_QK: Tensor, *, options: _Options) -> Tensor:
    # Kept for the backward pass, the scores of all blocks would cost the square of the row's length for every head.
    return cast(Tensor, checkpoint(_by_scores, query, key, value, is_seen_QK, options, use_reentrant=False))


def _by_scores(query: Tensor, key: Tensor, value: Tensor, is_seen_QK: Tensor, options: _Options) -> Tensor:
    heads_per_key = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(heads_per_key, dim=1) for tensor in (key, value))
    scale = query.shape[3] ** -0.5 if options.scale is None else options.scale
    scores = (query @ key.transpose(2, 3)).float() * scale
    if options.softcap is not None:
        scores = options.softcap * torch.tanh(scores / options.softcap)
    scores = scores.masked_fill(~is_seen_QK, -torch.inf)
    if options.sinks_N is not None:
        sinks = options.sinks_N.float()[None, :, None, None].expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, sinks], dim=3)
    shares = scores.softmax(dim=3)[..., : key.shape[2]].to(value.dtype)
    return functional.dropout(shares, p=options.dropout) @ value


def _window_alone(*_: Any, local_size: int | None = None, **__: Any) -> Tensor | None:
    """Return the window in place of a mask, since segments separate the rows.

    Some families put their window into the mask only, and do not pass it to the attention.
    """
    return None if local_size is None else torch.tensor(local_size)


def register_segment_attention() -> str:
    """Register the attention with transformers; return the name for `attn_implementation`."""
    AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)
    AttentionMaskInterface.register(SEGMENT_ATTENTION, _window_alone)
    return SEGMENT_ATTENTION
