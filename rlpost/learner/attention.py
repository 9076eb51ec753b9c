"""Causal attention over packed rows: each row attends to itself only.

Rows lie end to end in one sequence, and `segment_lengths` says where each ends. Running one fused causal attention for
each row costs the sum of the squared row lengths, where a block mask costs the square of the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from rlpost.errors import ModelError

SEGMENT_ATTENTION = "rlpost_segments"


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segment_lengths: Sequence[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of transformers' interface: query [1, heads, T, width], key and value [1, kv heads, T, width].

    Returns [1, T, heads, width]. `segment_lengths` goes through the model's forward and arrives here unchanged.

    Raises:
        ModelError: the model asks for more than causal attention: a window shorter than a row, a soft cap, sinks.
    """
    assert attention_mask is None, "packed rows are separated by segment_lengths, not by a mask"
    assert query.shape[0] == 1, f"packed rows form one sequence, found {query.shape[0]}"
    if softcap is not None or s_aux is not None:
        raise ModelError("the model's attention must be plain causal; it has a soft cap or sinks: choose another model")
    if sliding_window is not None and max(segment_lengths) > sliding_window:
        raise ModelError(
            f"a row must fit the model's sliding window of {sliding_window} tokens; found a row of "
            f"{max(segment_lengths)}: lower model.max_length to {sliding_window}"
        )
    grouped = query.shape[1] != key.shape[1]
    outputs = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=grouped)
        for q, k, v in zip(
            query.split(list(segment_lengths), dim=2),
            key.split(list(segment_lengths), dim=2),
            value.split(list(segment_lengths), dim=2),
            strict=True,
        )
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    """Segments need no mask, so none is built."""


def register_segment_attention() -> str:
    """Make the attention known to transformers; returns the name for `attn_implementation`."""
    AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)
    AttentionMaskInterface.register(SEGMENT_ATTENTION, _no_mask)
    return SEGMENT_ATTENTION
