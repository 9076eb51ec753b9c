"""Turns examples into the arrays of a token file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from rlpost.data.chat import ChatFormat
from rlpost.data.held_out import questions_of
from rlpost.data.judgements import label_target, quantile_target
from rlpost.data.tokenizer import encoding_errors
from rlpost.data.trained_spans import TrainOn
from rlpost.records import Example, IntArray

Shape = Literal["document", "conversation", "pair", "labelled", "rewarded", "prompt"]
"""The stored tokens of a row: those of its text, of prompt and answer (with or without a label or rewards), of both
sides of a pair one after the other, or of the prompt with the generation prompt at its end."""
SEQUENCES: Mapping[Shape, int] = {
    "document": 1,
    "conversation": 1,
    "pair": 2,
    "labelled": 1,
    "rewarded": 1,
    "prompt": 1,
}
"""Shape -> sequences of one row."""


class Chunk(NamedTuple):
    """The arrays of some rows. `S` counts their sequences, `T` the tokens of all, and `R` the rows."""

    token_ids: IntArray
    """Shape [T]."""
    trained: NDArray[np.uint8]
    """1 on tokens that are trained; shape [T]."""
    lengths: NDArray[np.int64]
    """Tokens of each sequence; shape [S]."""
    prompt_lengths: NDArray[np.int64]
    """Tokens before the answer of each sequence; shape [S]."""
    questions: NDArray[np.uint64]
    """Hashes of the questions that the row asks, 0 where it has fewer than two; shape [R, 2]."""
    differ: NDArray[np.bool_]
    """Whether the two sides of a pair differ; shape [R]."""
    targets: NDArray[np.float32]
    """Number that a judged answer is trained towards (`data.judgements`); 0 for other shapes; shape [R]."""


def chunk_of(examples: Sequence[Example], *, chat: ChatFormat, shape: Shape, train_on: TrainOn) -> Chunk:
    """Render and tokenise examples.

    Raises:
        DataError: no turn of a row is trained.
        ModelError: the chat template cannot show a row as it must be trained.
    """
    target_of = _TARGETS.get(shape)
    sequences = _SEQUENCES_OF[shape](examples, chat, train_on)
    return Chunk(
        token_ids=_joined([sequence.token_ids for sequence in sequences], np.int32),
        trained=_joined([sequence.trained_T for sequence in sequences], np.uint8),
        lengths=np.array([len(sequence.token_ids) for sequence in sequences], np.int64),
        prompt_lengths=np.array([sequence.prompt_length for sequence in sequences], np.int64),
        questions=np.array([_question_hashes(example) for example in examples], np.uint64).reshape(-1, 2),
        differ=np.array([example.completion != example.rejected for example in examples], np.bool_),
        targets=np.array([target_of(example) if target_of else 0 for example in examples], np.float32),
    )


def question_hash(question: str) -> int:
    """Return the number under which a question is stored; never 0."""
    return xxhash.xxh3_64_intdigest(question.encode()) or 1


def document_tokens(documents: Sequence[Example], *, chat: ChatFormat) -> list[IntArray]:
    """Return the tokens of raw texts, with the tokenizer's own start token, if it has one, and always the end of
    sequence.
    """
    if not documents:
        return []
    tokenizer: Any = chat.tokenizer
    end: int = tokenizer.eos_token_id
    with encoding_errors():
        encoded: list[list[int]] = tokenizer([example.text for example in documents])["input_ids"]
    return [np.array(ids if ids[-1:] == [end] else [*ids, end], np.int32) for ids in encoded]


class _Sequence(NamedTuple):
    token_ids: IntArray
    trained_T: NDArray[Any]
    prompt_length: int


def _conversations(examples: Sequence[Example], chat: ChatFormat, train_on: TrainOn) -> list[_Sequence]:
    rendered = chat.render_conversations(examples, train_on=train_on)
    return [_Sequence(answer.token_ids, answer.weights_T, answer.prompt_length) for answer in rendered]


def _pairs(examples: Sequence[Example], chat: ChatFormat, train_on: TrainOn) -> list[_Sequence]:
    sides = [side for example in examples for side in (example, replace(example, completion=example.rejected))]
    return _conversations(sides, chat, train_on)


def _prompts(examples: Sequence[Example], chat: ChatFormat, train_on: TrainOn) -> list[_Sequence]:
    del train_on
    return [_Sequence(ids, np.zeros(len(ids), np.uint8), len(ids)) for ids in chat.render_prompts(examples)]


def _documents(examples: Sequence[Example], chat: ChatFormat, train_on: TrainOn) -> list[_Sequence]:
    """Make texts, and conversations as one text; every token but the first is trained. The marks of turns
    (`Message.train`) are for supervised fine-tuning and change nothing here.
    """
    texts = iter(document_tokens([example for example in examples if example.text is not None], chat=chat))
    conversations = [_without_marks(example) for example in examples if example.text is None]
    others = iter(_conversations(conversations, chat, train_on))
    found = [
        _Sequence(next(texts), np.empty(0), 0) if example.text is not None else next(others) for example in examples
    ]
    return [_Sequence(ids, np.arange(len(ids)) > 0, prompt_length) for ids, _, prompt_length in found]


_SEQUENCES_OF = {
    "document": _documents,
    "conversation": _conversations,
    "pair": _pairs,
    "labelled": _conversations,
    "rewarded": _conversations,
    "prompt": _prompts,
}
_TARGETS: Mapping[Shape, Callable[[Example], float]] = {"labelled": label_target, "rewarded": quantile_target}


def _without_marks(example: Example) -> Example:
    return replace(example, completion=tuple(replace(turn, train=None) for turn in example.completion))


def _question_hashes(example: Example) -> list[int]:
    hashes = sorted(question_hash(question) for question in questions_of(example))
    return [*hashes, 0, 0][:2]


def _joined(parts: Iterable[NDArray[Any]], dtype: type[Any]) -> NDArray[Any]:
    parts = list(parts)
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.empty(0, dtype)
