"""Turns examples into prompts to sample from, or rows to train on, all within the model's `max_length` tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rlpost.data.chat import ChatFormat, RenderedConversation
from rlpost.data.tokenizer import encoding_errors
from rlpost.data.trained_spans import TrainOn
from rlpost.errors import DataError
from rlpost.records import Example, FloatArray, IntArray, Prompt, Trajectory
from rlpost.train_records import NO_COLUMNS, TrainRow


class SupervisedRows(NamedTuple):
    """Rows to train on, and the number of examples that gave none because they are longer than `max_length`."""

    rows: list[TrainRow]
    dropped: int

    @property
    def row_ids(self) -> list[str]:
        """The example that each row is from; it begins with the name of the data set."""
        return [row.source for row in self.rows]


def document_rows(examples: Sequence[Example], *, chat: ChatFormat, max_length: int) -> SupervisedRows:
    """Make rows for continued pre-training: every token is trained except the first, which has no context.

    A document (`Example.text`) ends with the end-of-sequence token and is cut into rows of `max_length` tokens. Prompt
    and response without a text are rendered with the chat template as one text, and dropped if they are too long. The
    marks of turns (`Message.train`) are for supervised fine-tuning and change nothing here.

    Raises:
        DataError: a prompt alone fills `max_length`, or no row is left.
    """
    documents = [example for example in examples if example.text is not None]
    rows = [
        _trained_row(token_ids[start : start + max_length], source=example.id)
        for example, token_ids in zip(documents, _document_tokens(documents, chat=chat), strict=True)
        for start in range(0, len(token_ids) - 1, max_length)
    ]
    conversations = [_without_marks(example) for example in examples if example.text is None]
    rendered = render_within(conversations, chat=chat, max_length=max_length, train_on="completion")
    answers = [
        _trained_row(answer.token_ids, source=example.id)
        for example, answer in zip(conversations, rendered, strict=True)
        if answer is not None
    ]
    return _kept([*rows, *answers], dropped=len(rendered) - len(answers), max_length=max_length)


def demonstration_rows(
    examples: Sequence[Example], *, chat: ChatFormat, max_length: int, train_on: TrainOn
) -> SupervisedRows:
    """Make rows for supervised fine-tuning: the assistant's turns and their ends are trained. Rows that are too long
    are dropped.

    Raises:
        DataError: a prompt alone fills `max_length`, no turn of a row is trained, or no row is left.
        ModelError: the chat template cannot show a conversation as it must be trained.
    """
    rendered = render_within(examples, chat=chat, max_length=max_length, train_on=train_on)
    rows = [
        answer_row(answer, source=example.id)
        for example, answer in zip(examples, rendered, strict=True)
        if answer is not None
    ]
    return _kept(rows, dropped=len(rendered) - len(rows), max_length=max_length)


def prompts_of(examples: Sequence[Example], *, chat: ChatFormat, max_length: int, max_tokens: int) -> list[Prompt]:
    """Make prompts for the generator, each with room for `max_tokens` sampled tokens.

    Raises:
        DataError: a prompt and `max_tokens` do not fit in `max_length` together.
    """
    token_ids = chat.render_prompts(examples)
    _check_prompts_fit(examples, [len(ids) for ids in token_ids], max_length=max_length, max_tokens=max_tokens)
    return [
        Prompt(
            id=example.id,
            dataset=example.dataset,
            messages=example.messages,
            token_ids=ids,
            gold=example.gold,
            meta=example.meta,
        )
        for example, ids in zip(examples, token_ids, strict=True)
    ]


def trajectory_row(
    trajectory: Trajectory,
    *,
    weight: float,
    columns: Mapping[str, FloatArray] = NO_COLUMNS,
    with_sampled_logprobs: bool = False,
    source: str = "",
) -> TrainRow:
    """Make a row of a sampled trajectory; every token that the policy chose has the same loss weight.

    Args:
        trajectory: The tokens, with marks for those that the policy chose.
        weight: Loss weight of each chosen token; all others get 0.
        columns: Columns of `train_records` with one value per chosen token; all other tokens get 0.
        with_sampled_logprobs: Whether the row gets the generator's log-probabilities as `behaviour_logprobs_T`.
        source: Origin of the row, for people.
    """
    (chosen,), length = trajectory.trained_T.nonzero(), len(trajectory.token_ids)
    weights_T = trajectory.trained_T * np.float32(weight)
    whole = {"behaviour_logprobs_T": trajectory.logprobs_T} if with_sampled_logprobs else dict[str, FloatArray]()
    for name, values_T in columns.items():
        whole[name] = np.zeros(length, np.float32)
        whole[name][chosen] = values_T
    return TrainRow(token_ids=trajectory.token_ids, weights_T=weights_T, columns=whole, source=source)


def answer_row(answer: RenderedConversation, *, source: str) -> TrainRow:
    """Make the row that trains the answers of a rendered conversation."""
    return TrainRow(token_ids=answer.token_ids, weights_T=answer.weights_T, source=source)


def render_within(
    examples: Sequence[Example], *, chat: ChatFormat, max_length: int, train_on: TrainOn
) -> list[RenderedConversation | None]:
    """Render each prompt with its completion as tokens; None if both together are longer than `max_length`.

    Raises:
        DataError: a prompt alone fills `max_length`.
    """
    assert all(example.completion for example in examples), "require_columns comes before rows"
    rendered = chat.render_conversations(examples, train_on=train_on)
    _check_prompts_fit(examples, [answer.prompt_length for answer in rendered], max_length=max_length, max_tokens=1)
    return [answer if len(answer.token_ids) <= max_length else None for answer in rendered]


def _without_marks(example: Example) -> Example:
    return replace(example, completion=tuple(replace(turn, train=None) for turn in example.completion))


def _check_prompts_fit(
    examples: Sequence[Example], prompt_lengths: Sequence[int], *, max_length: int, max_tokens: int
) -> None:
    for example, length in zip(examples, prompt_lengths, strict=True):
        if length + max_tokens > max_length:
            raise DataError(
                f"a prompt and {max_tokens} more tokens must fit in model.max_length = {max_length}; the prompt of row "
                f"{example.id} has {length} tokens: raise model.max_length, lower sampling.max_tokens or remove the row"
            )


def _document_tokens(documents: Sequence[Example], *, chat: ChatFormat) -> list[IntArray]:
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


def _trained_row(token_ids: IntArray, *, source: str) -> TrainRow:
    weights_T: FloatArray = np.ones(len(token_ids), np.float32)
    weights_T[0] = 0
    return TrainRow(token_ids=token_ids, weights_T=weights_T, source=source)


def _kept(rows: list[TrainRow], *, dropped: int, max_length: int) -> SupervisedRows:
    if not rows:
        raise DataError(
            f"no row fits in model.max_length = {max_length}: all {dropped} are longer; raise it or give other data"
        )
    return SupervisedRows(rows=rows, dropped=dropped)
