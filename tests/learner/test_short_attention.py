"""Attention of short rows by matrix products, against a reference in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rlpost.learner import attention
from rlpost.learner.attention import Segments, segment_attention
from rlpost.learner.short_attention import MOST_WIDTH, short_attention

SCALE = 0.3


def made(width: int, *, heads: int, key_heads: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(width)
    shapes = ((3, heads, width, 16), (3, key_heads, width, 16), (3, key_heads, width, 24))
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def in_float64(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    shared = query.shape[1] // key.shape[1]
    query, key, value = query.double(), *(tensor.double().repeat_interleave(shared, 1) for tensor in (key, value))
    scores = SCALE * query @ key.transpose(2, 3)
    is_unseen = torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).triu(1)
    return scores.masked_fill(is_unseen, -torch.inf).softmax(dim=3) @ value


def with_gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    credit = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return [output.detach(), *torch.autograd.grad((output * credit.to(output.dtype)).sum(), inputs)]


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize("width", [1, 7, 256, 257, 512])
def test_output_and_gradients_equal_those_in_float64(width: int, heads: int, key_heads: int) -> None:
    inputs = made(width, heads=heads, key_heads=key_heads, dtype=torch.float32)
    found = with_gradients(short_attention(*inputs, scale=SCALE), inputs)
    expected = with_gradients(in_float64(*inputs), inputs)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() <= 2e-6 * other.norm()


@pytest.mark.parametrize("width", [7, 300])
def test_in_bfloat16_scores_are_not_rounded(width: int) -> None:
    # Large scores: rounded to bfloat16 they would be off by up to 0.1, and the outputs by several percent.
    inputs = [
        tensor * factor
        for tensor, factor in zip(made(width, heads=2, key_heads=2, dtype=torch.bfloat16), (4, 4, 1), strict=True)
    ]
    found, expected = short_attention(*inputs, scale=SCALE), in_float64(*inputs)
    assert (found - expected).norm() <= 4e-3 * expected.norm()


def test_only_short_rows_in_bfloat16_without_dropout_attend_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []

    def noted(query: Tensor, key: Tensor, value: Tensor, *, scale: float | None) -> Tensor:
        widths.append(query.shape[2])
        return short_attention(query, key, value, scale=scale)

    monkeypatch.setattr(attention, "short_attention", noted)
    lengths = (MOST_WIDTH + 1, 3, 40)
    segments = Segments.of(lengths, torch.device("cpu"))

    def attend(dtype: torch.dtype, *, window: int | None = None, dropout: float = 0.0) -> list[int]:
        widths.clear()
        inputs = [torch.randn(1, 2, sum(lengths), 16, dtype=dtype) for _ in range(3)]
        mask = None if window is None else torch.tensor(window)
        segment_attention(torch.nn.Module(), *inputs, mask, segments=segments, dropout=dropout)  # pyright: ignore[reportCallIssue] - the inputs are unpacked
        return list(widths)

    assert attend(torch.bfloat16) == [40, 3]
    assert attend(torch.bfloat16, window=10) == [3]
    assert attend(torch.bfloat16, dropout=0.1) == []
    assert attend(torch.float32) == []
