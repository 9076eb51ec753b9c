"""Checks that a chat template writes every part of a conversation, so that no part of a row is lost silently."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from rlpost.data.chat_template import ChatTemplate
from rlpost.errors import ModelError
from rlpost.records import Message


class _Part(NamedTuple):
    """A part of a conversation that must be written, and the word that replaces it during the test."""

    word: str
    name: str


class TemplateCoverage:
    """Tests each form of conversation once, by the roles and the parts of its turns.

    It checks the content of every turn, every tool call, the name of a person who speaks, and the reasoning of the
    assistant's trained turns. Many model families leave out the reasoning of earlier turns. The `name` and the
    `tool_call_id` of a tool's answer say again which call it answers, and may be left out.
    """

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._whole: set[tuple[Any, ...]] = set()

    def check(
        self,
        messages: Sequence[Message],
        *,
        trained: Collection[int],
        tools: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any],
    ) -> None:
        """Return if the template writes everything that must be written; `trained` are the indices of the trained
        turns.

        Raises:
            ModelError: a part would be lost; the message names it and what to set.
        """
        self._check_variables(tools=tools, arguments=arguments)
        shape = _shape(messages, trained=trained, tools=tools, arguments=arguments)
        if shape in self._whole:
            return
        if self._template.reasoning_key is None and any(message.reasoning_content for message in messages):
            raise _vanished("reasoning_content")
        marked, parts = _marked(messages, trained=trained)
        rendered = self._template.render(marked, tools=tools, arguments=arguments, generation_prompt=False)
        for part in parts:
            if part.word not in rendered.text:
                raise _vanished(part.name)
        self._whole.add(shape)

    def _check_variables(self, *, tools: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]) -> None:
        wanted = [*arguments, *(["tools"] if tools else [])]
        for name in wanted:
            if name not in self._template.variables:
                raise _vanished(name if name == "tools" else f"the template argument {name}")


def _vanished(part: str) -> ModelError:
    return ModelError(
        f"the chat template must write all of a conversation; nothing in it writes {part}: set model.chat_template to "
        "a template that does, or take that part out of the data"
    )


def _shape(
    messages: Sequence[Message],
    *,
    trained: Collection[int],
    tools: Sequence[Mapping[str, Any]],
    arguments: Mapping[str, Any],
) -> tuple[Any, ...]:
    turns = [
        (
            message.role,
            bool(message.content),
            bool(message.reasoning_content),
            len(message.tool_calls),
            message.name is not None,
            index in trained,
        )
        for index, message in enumerate(messages)
    ]
    return (*turns, bool(tools), repr(sorted(arguments.items())))


def _marked(messages: Sequence[Message], *, trained: Collection[int]) -> tuple[list[Message], list[_Part]]:
    """Replace each part that must be written by a word of its own; return the turns and these words."""
    marked: list[Message] = []
    parts: list[_Part] = []

    def word(index: int, name: str) -> str:
        parts.append(_Part(f"part{len(parts)}mark", f"{name} of message {index} ({messages[index].role})"))
        return parts[-1].word

    for index, message in enumerate(messages):
        content, reasoning, name = message.content, None, message.name
        if content and content.strip():
            content = word(index, "the content")
        if message.reasoning_content and message.reasoning_content.strip() and index in trained:
            reasoning = word(index, "the reasoning_content")
        if name and message.role != "tool":
            name = word(index, "the name")
        calls = [
            {**call, "function": {**call["function"], "name": word(index, f"tool call {place}")}}
            for place, call in enumerate(message.tool_calls)
        ]
        marked.append(
            Message(
                role=message.role,
                content=content,
                reasoning_content=reasoning,
                tool_calls=tuple(calls),
                tool_call_id=message.tool_call_id,
                name=name,
            )
        )
    return marked, parts
