"""Finds the trained characters of a rendered conversation: all `{% generation %}` blocks of the trained turns, or, for
a template without markers, the text that each of these turns adds after its generation prompt, up to its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rlpost.data.chat_template import ChatTemplate, Rendered
from rlpost.errors import DataError, ModelError
from rlpost.records import Example, Message

TrainOn = Literal["all", "last", "completion"]
"""The assistant's turns that are trained, unless a turn is marked itself; `completion` leaves out the turns of the
prompt whatever their marks say."""


class TurnEnd(NamedTuple):
    """The way in which a template ends a turn of the assistant, found on a small conversation."""

    token_id: int | None
    """The token that ends the turn; None if the template writes none."""
    closing: str
    """Text after the end if nothing follows, which no model samples; without white space."""
    special_tokens: re.Pattern[str]
    """Matches any special token of the tokenizer."""


class TrainedText(NamedTuple):
    """A conversation as text, split where its completion begins."""

    prompt: str
    """The rendered prompt with the generation prompt at its end."""
    completion: str
    """The text after the prompt, to the end of the last answer."""
    spans: list[tuple[int, int]]
    """(start, stop) characters that are trained, counted from the start of the prompt."""


def trained_turns(example: Example, *, train_on: TrainOn) -> list[int]:
    """Return the indices of the trained turns, among the turns of prompt and completion together.

    Raises:
        DataError: no turn is trained.
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
        ModelError: the template does not put the completion after the rendered prompt, marks nothing, or shows an
            earlier turn in a different form from the one in which the model writes it.
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
        """Return the text, split and with its spans."""
        prompt, whole = self._head(self._first).text, self._whole.text
        if not whole.startswith(prompt):
            raise self._no_prefix(prompt)
        spans = self._marked(trained) if self._template.has_markers else self._unmarked(trained)
        # White space after the end of the last turn is never sampled, so it is not part of the answer.
        stop = self._whole.blocks[-1][1] if self._template.has_markers else self._stop(self._assistant[-1])
        stop = len(whole[:stop].rstrip())
        spans = [(start, min(span_stop, stop)) for start, span_stop in spans if start < stop]
        return TrainedText(prompt=prompt, completion=whole[len(prompt) : stop], spans=spans)

    def _head(self, turn: int) -> Rendered:
        """Render everything before an answer of the assistant, including its generation prompt."""
        if turn not in self._heads:
            if turn == 0:
                return Rendered(text="", blocks=[])
            self._heads[turn] = self._template.render(self._turns[:turn], generation_prompt=True, **self._settings)
        return self._heads[turn]

    def _marked(self, trained: Sequence[int]) -> list[tuple[int, int]]:
        """Return the blocks of the trained turns, without characters of their generation prompts, which are given."""
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
        """Return the end of a turn in the whole text, after its end token."""
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
        return ModelError(
            "the chat template must render a conversation so that it begins with the rendered prompt; the prompt goes "
            f"on with {prompt[shared:][:60]!r} where the conversation has {self._whole.text[shared:][:60]!r}: "
            # The word at which the two texts diverge, "<think>" for example, may begin before that position.
            + (
                self._reasoning_remedy(prompt[max(0, shared - 10) :])
                if "think" in prompt[max(0, shared - 10) :]
                else ""
            )
            + "set model.chat_template to a template whose generation prompt is what it writes before an answer"
        )

    def _reasoning_remedy(self, end_of_prompt: str) -> str:
        closes = "</think" in end_of_prompt
        if closes:
            found, remedy = (
                "closes the block of reasoning that the answer fills",
                "take the reasoning out of the answers",
            )
        elif self._template.reasoning_key is not None:
            found, remedy = (
                "opens a block of reasoning that the answer does not fill",
                "give the answers reasoning_content",
            )
        else:
            found = "opens a block of reasoning that the template leaves out of the answer"
            remedy = "begin each answer with its reasoning in that block, if the template keeps it"
        has_switch = "enable_thinking" in self._template.variables
        value = "true" if closes else "false"
        switch = f"set template_arguments: {{enable_thinking: {value}}} in the data set, or " if has_switch else ""
        return f"the generation prompt {found}: {remedy}, or {switch}"


def _shared_beginning(first: str, second: str) -> str:
    differing = (place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return first[: next(differing, min(len(first), len(second)))]


def no_end(found: str) -> ModelError:
    """Make the error for a template that does not end an answer."""
    return ModelError(
        "the chat template must end an answer with a special token, or a model cannot learn to stop; it ends with "
        f"{found!r}: write {{{{ eos_token }}}} behind the answer, inside the {{% generation %}} markers where it has "
        "them, or set model.chat_template to another template"
    )
