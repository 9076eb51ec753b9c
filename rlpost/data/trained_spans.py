"""Which characters of a rendered conversation are trained: all `{% generation %}` blocks of the turns that are trained,
or, for a template without markers, what each of these turns adds behind its generation prompt, to its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rlpost.data.chat_template import ChatTemplate, Rendered
from rlpost.errors import DataError, ModelError
from rlpost.records import Example, Message

TrainOn = Literal["all", "last", "completion"]
"""Which of the assistant's turns are trained, where a turn does not say so itself; `completion` leaves out those of the
prompt whatever they say."""


class TurnEnd(NamedTuple):
    """How a template ends a turn of the assistant, read off a small conversation."""

    token_id: int | None
    """The token that ends the turn; None where the template writes none."""
    closing: str
    """Text that it writes behind the end where nothing follows, and that no model samples; without white space."""
    special_tokens: re.Pattern[str]
    """Any special token of the tokenizer."""


class TrainedText(NamedTuple):
    """A conversation as text, cut where its completion begins."""

    prompt: str
    """The rendered prompt with the generation prompt at its end."""
    completion: str
    """The text behind it, to the end of the last answer."""
    spans: list[tuple[int, int]]
    """(start, stop) characters that are trained, counted from the start of the prompt."""


def trained_turns(example: Example, *, train_on: TrainOn) -> list[int]:
    """The places of the trained turns, among the turns of prompt and completion together.

    Raises:
        DataError: there are none.
    """
    turns = [*example.messages, *example.completion]
    assistant = [index for index, turn in enumerate(turns) if turn.role == "assistant"]
    if train_on == "completion":
        assistant = [index for index in assistant if index >= len(example.messages)]
    by_default = assistant[-1:] if train_on == "last" else assistant
    trained = [
        index for index in assistant if turns[index].train or (turns[index].train is None and index in by_default)
    ]
    if not trained:
        raise DataError(
            f"row {example.id} must have a turn of the assistant that is trained; its turns say train: false or "
            "weight: 0: take the row out, or the mark"
        )
    return trained


def trained_text(example: Example, *, trained: Sequence[int], template: ChatTemplate, end: TurnEnd) -> TrainedText:
    """Render prompt and completion, and find the trained characters.

    Raises:
        ModelError: the template does not put the completion behind the rendered prompt, marks nothing, or shows an
            earlier turn in another form than the one in which the model writes it.
    """
    return _Conversation(example, template, end).trained_text(trained)


class _Conversation:
    """One conversation, rendered up to any of its turns."""

    def __init__(self, example: Example, template: ChatTemplate, end: TurnEnd) -> None:
        self._turns: list[Message] = [*example.messages, *example.completion]
        self._template, self._end = template, end
        self._settings: Mapping[str, Any] = {"tools": example.tools, "arguments": example.template_arguments}
        self._assistant = [index for index, turn in enumerate(self._turns) if turn.role == "assistant"]
        self._first = next(index for index in self._assistant if index >= len(example.messages))
        self._heads: dict[int, Rendered] = {}
        self._whole = template.render(self._turns, generation_prompt=False, **self._settings)

    def trained_text(self, trained: Sequence[int]) -> TrainedText:
        """Cut, and with its spans."""
        prompt, whole = self._head(self._first).text, self._whole.text
        if not whole.startswith(prompt):
            raise self._no_prefix(prompt)
        spans = self._marked(trained) if self._template.has_markers else self._unmarked(trained)
        # White space behind the end of the last turn is never sampled, so it is no part of the answer.
        stop = self._whole.blocks[-1][1] if self._template.has_markers else self._stop(self._assistant[-1])
        stop = len(whole[:stop].rstrip())
        spans = [(start, min(span_stop, stop)) for start, span_stop in spans if start < stop]
        return TrainedText(prompt=prompt, completion=whole[len(prompt) : stop], spans=spans)

    def _head(self, turn: int) -> Rendered:
        """All that stands before an answer of the assistant, its generation prompt included."""
        if turn not in self._heads:
            if turn == 0:
                return Rendered(text="", blocks=[])
            self._heads[turn] = self._template.render(self._turns[:turn], generation_prompt=True, **self._settings)
        return self._heads[turn]

    def _marked(self, trained: Sequence[int]) -> list[tuple[int, int]]:
        """The blocks of the trained turns, without characters of their generation prompts, which are given."""
        spans: list[tuple[int, int]] = []
        for turn in trained:
            head = self._head(turn)
            after = next((index for index in self._assistant if index > turn), None)
            stop = len(self._whole.blocks) if after is None else len(self._head(after).blocks)
            given = len(head.text) if self._whole.text.startswith(head.text) else 0
            blocks = [(max(a, given), b) for a, b in self._whole.blocks[len(head.blocks) : stop] if b > given]
            if not blocks:
                raise ModelError(
                    "the chat template must mark every answer with {% generation %} ... {% endgeneration %}; it marks "
                    f"nothing in message {turn} behind its prompt: correct the markers or remove all of them"
                )
            spans += blocks
        return spans

    def _unmarked(self, trained: Sequence[int]) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for turn in trained:
            head = self._head(turn).text
            if not head or not self._whole.text.startswith(head):
                raise self._changed(turn)
            spans.append((len(head), self._stop(turn)))
        return spans

    def _stop(self, turn: int) -> int:
        """Where a turn ends in the whole text: behind its end token."""
        is_last = turn == self._assistant[-1]
        closed = (
            self._whole
            if is_last
            else self._template.render(self._turns[: turn + 1], generation_prompt=False, **self._settings)
        )
        shared = _shared_beginning(closed.text, self._whole.text).rstrip()
        if is_last and self._end.closing:
            shared = shared.removesuffix(self._end.closing).rstrip()
        start = len(self._head(turn).text)
        stops = [match.end() for match in self._end.special_tokens.finditer(shared, start)]
        behind = closed.text[stops[-1] :].strip() if stops else None
        if behind in ("", self._end.closing):
            return stops[-1]
        if is_last:
            raise no_end(shared[-20:])
        raise self._changed(turn)

    def _changed(self, turn: int) -> ModelError:
        return ModelError(
            f"the chat template must show an answer that is trained as the model writes it; message {turn} (assistant) "
            "has another form once other turns follow, so it cannot be trained where it stands: set train_on: last, or "
            "model.chat_template to a template with {% generation %} markers that keeps earlier turns as they are"
        )

    def _no_prefix(self, prompt: str) -> ModelError:
        shared = len(_shared_beginning(prompt, self._whole.text))
        # Of the word at which the two part, "<think>" for example, only the end may be behind that place.
        opens_reasoning = "think" in (prompt[max(0, shared - 10) :]).lower()
        hint = (
            "the generation prompt opens a block of reasoning that the answer does not begin with: give the answers "
            "reasoning_content, or "
            + (
                "set template_arguments: {enable_thinking: false} in the data set, or "
                if "enable_thinking" in self._template.variables
                else ""
            )
            if opens_reasoning
            else ""
        )
        return ModelError(
            "the chat template must render a conversation so that it begins with the rendered prompt; the prompt goes "
            f"on with {prompt[shared:][:60]!r} where the conversation has {self._whole.text[shared:][:60]!r}: {hint}"
            "set model.chat_template to a template whose generation prompt is what it writes before an answer"
        )


def _shared_beginning(first: str, second: str) -> str:
    differing = (place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return first[: next(differing, min(len(first), len(second)))]


def no_end(found: str) -> ModelError:
    """A template that does not end an answer."""
    return ModelError(
        "the chat template must end an answer with a special token, or a model cannot learn to stop; it ends with "
        f"{found!r}: write {{{{ eos_token }}}} behind the answer, inside the {{% generation %}} markers where it has "
        "them, or set model.chat_template to another template"
    )
