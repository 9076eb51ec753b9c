"""Causal attention over packed rows: each row attends only to itself.

Rows are packed end to end in one sequence. Rows of similar length are padded at their ends and share one fused causal
attention call; no token before the padding sees the padding. The cost is the sum of the squared row lengths, whereas a
block mask costs the square of the sum, and attention row by row would take hundreds of calls.

Layers with a sliding window attend in blocks: a block of queries sees the keys from a window before its first query to
its last, under a mask. Rows that fit the window need no mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from rlpost.errors import ModelError

SEGMENT_ATTENTION = "rlpost_segments"
MOST_PADDING = 16
"""Most tokens of padding that a row may get in order to share a call with longer rows."""
_SHORT_WIDTH = 256
"""Up to this width, the backward pass of torch's fused attention on CPU is up to 3 times slower in bfloat16 than in
float32."""
_BLOCK = 512
"""Number of queries that share one call in a layer with a sliding window."""


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
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention with transformers' interface: query [1, heads, T, width], key and value [1, kv heads, T, width].

    Returns [1, T, heads, width]. `segments` is passed through the model's forward unchanged.

    A window of w lets each token attend to itself and the w - 1 tokens before it.

    Raises:
        ModelError: the model's attention has a soft cap or sinks.
    """
    assert attention_mask is None, "packed rows are separated by segments, not by a mask"
    assert query.shape[0] == 1, f"packed rows form one sequence, found {query.shape[0]}"
    if softcap is not None or s_aux is not None:
        raise ModelError("the model's attention must be plain causal; it has a soft cap or sinks: choose another model")
    outputs = [
        _group_attention(query, key, value, group=group, window=sliding_window, scale=scaling, dropout_p=dropout)
        for group in segments.groups
    ]
    tokens_first = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if segments.place_T is not None:
        tokens_first = tokens_first.index_select(0, segments.place_T)
    return tokens_first[None], None


def _group_attention(
    query: Tensor, key: Tensor, value: Tensor, *, group: RowGroup, window: int | None, **options: Any
) -> Tensor:
    """Return the attention output of a group, shape [rows * width of the group, heads, head width]."""

    def rows_of(packed: Tensor) -> Tensor:
        tokens_first = packed[0].transpose(0, 1)
        if group.source is not None:
            tokens_first = tokens_first.index_select(0, group.source)
        rows = tokens_first.reshape(group.rows, group.width, *tokens_first.shape[1:]).transpose(1, 2)
        return rows.float() if rows.device.type == "cpu" and group.width <= _SHORT_WIDTH else rows

    rows = rows_of(query), rows_of(key), rows_of(value)
    options["enable_gqa"] = query.shape[1] != key.shape[1]
    if window is None or group.width <= window:
        output = scaled_dot_product_attention(*rows, is_causal=True, **options)
    else:
        output = _windowed_attention(*rows, window=window, **options)
    return output.to(query.dtype).transpose(1, 2).reshape(-1, query.shape[1], value.shape[3])


def _windowed_attention(query: Tensor, key: Tensor, value: Tensor, *, window: int, **options: Any) -> Tensor:
    """Attend within a window, block by block; all shapes are [rows, heads, width of the rows, head width]."""
    outputs: list[Tensor] = []
    for start in range(0, query.shape[2], _BLOCK):
        stop = min(start + _BLOCK, query.shape[2])
        first = max(0, start - window + 1)
        distance_QK = torch.arange(start, stop, device=query.device)[:, None]
        distance_QK = distance_QK - torch.arange(first, stop, device=query.device)[None]
        is_seen_QK = (distance_QK >= 0) & (distance_QK < window)
        block = query[:, :, start:stop], key[:, :, first:stop], value[:, :, first:stop]
        outputs.append(scaled_dot_product_attention(*block, attn_mask=is_seen_QK, **options))
    return torch.cat(outputs, dim=2)


def _no_mask(*_: Any, **__: Any) -> None:
    """Build no mask, because segments replace it."""


def register_segment_attention() -> str:
    """Register the attention with transformers; return the name for `attn_implementation`."""
    AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)
    AttentionMaskInterface.register(SEGMENT_ATTENTION, _no_mask)
    return SEGMENT_ATTENTION
