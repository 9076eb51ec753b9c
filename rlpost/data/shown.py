"""Rows as the model will see them: their tokens as text, in pieces that are trained or not, and their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlpost.data.chat import ChatFormat
from rlpost.data.token_files.chunk import SEQUENCES, Chunk, Shape, chunk_of
from rlpost.data.trained_spans import TrainOn
from rlpost.records import Example


class Piece(NamedTuple):
    """Successive tokens of a row that are all trained, or all not, as text with special tokens."""

    text: str
    is_trained: bool


class ShownSequence(NamedTuple):
    """One token sequence of a row; a pair has two."""

    pieces: tuple[Piece, ...]
    token_count: int
    trained_count: int


def shown_sequences(example: Example, *, chat: ChatFormat, shape: Shape, train_on: TrainOn) -> list[ShownSequence]:
    """Render and tokenise one row as a stage would.

    Raises:
        DataError: no turn of the row is trained.
        ModelError: the chat template cannot show the row as it must be trained.
    """
    chunk = chunk_of([example], chat=chat, shape=shape, train_on=train_on)
    cuts = np.cumsum(chunk.lengths)[:-1]
    tokens, trained = np.split(chunk.token_ids, cuts), np.split(chunk.trained, cuts)
    return [
        ShownSequence(_pieces(ids, flags, chat.tokenizer), len(ids), int(np.count_nonzero(flags)))
        for ids, flags in zip(tokens, trained, strict=True)
    ]


def _pieces(ids: NDArray[np.int32], trained: NDArray[np.uint8], tokenizer: Any) -> tuple[Piece, ...]:
    edges = [0, *(np.flatnonzero(np.diff(trained)) + 1).tolist(), len(ids)]
    return tuple(
        Piece(tokenizer.decode(ids[start:stop].tolist(), skip_special_tokens=False), bool(trained[start]))
        for start, stop in pairwise(edges)
        if stop > start
    )


class SetSummary(NamedTuple):
    """Numbers about some rows of a data set in the shape of a stage."""

    rows: int
    tokens: int
    trained: int
    median: int
    """Median length in tokens; of a pair, that of its longer side."""
    longest: int
    too_long: int
    """Rows that the stage leaves out because they have more tokens than it allows."""


def summary_of(
    examples: Sequence[Example], *, chat: ChatFormat, shape: Shape, train_on: TrainOn, most: int
) -> SetSummary:
    """Count the tokens of rows; `most` is the largest length that the stage allows.

    Raises:
        DataError: no turn of a row is trained.
        ModelError: the chat template cannot show a row as it must be trained.
    """
    chunk: Chunk = chunk_of(examples, chat=chat, shape=shape, train_on=train_on)
    lengths = chunk.lengths.reshape(-1, SEQUENCES[shape]).max(axis=1)
    is_cut = shape == "document"  # Documents are cut into rows, and conversations among them are not.
    has_prompt = chunk.prompt_lengths.reshape(-1, SEQUENCES[shape]).max(axis=1) > 0
    too_long = (lengths > most) & (has_prompt if is_cut else True)
    return SetSummary(
        rows=len(examples),
        tokens=int(chunk.lengths.sum()),
        trained=int(np.count_nonzero(chunk.trained)),
        median=int(np.median(lengths)),
        longest=int(lengths.max()),
        too_long=int(np.count_nonzero(too_long)),
    )
