"""Conversations for tests of templates and masks, and a tokenizer that knows every special token of a template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trl
from tiny_models import byte_tokenizer
from transformers import PreTrainedTokenizerFast

from rlpost.data.chat import ChatFormat, RenderedConversation
from rlpost.data.chat_template import chat_template_source
from rlpost.data.tokenizer import train_tokenizer
from rlpost.data.trained_spans import TrainOn
from rlpost.records import Example, Message

TRL_TEMPLATES = Path(trl.__file__).parent / "chat_templates"
WEATHER: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says the temperature.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL: Mapping[str, Any] = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Oslo"}},
}


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str | None, **fields: Any) -> Message:
    return Message(role="assistant", content=text, **fields)


def tool(text: str) -> Message:
    return Message(role="tool", content=text, tool_call_id="call00001", name="weather")


def row(prompt: Sequence[Message], completion: Sequence[Message] = (), **fields: Any) -> Example:
    return Example(id="s/7", dataset="s", messages=tuple(prompt), completion=tuple(completion), **fields)


def with_trl_template(name: str) -> PreTrainedTokenizerFast:
    """One token a byte, and every word in angle brackets that the template has as a special token."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (TRL_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    words = sorted(set(re.findall(r"<[^<>\s'{}]+>", tokenizer.chat_template)))
    tokenizer.add_special_tokens({"extra_special_tokens": words})
    tokenizer.bos_token = "<|pad|>"
    return tokenizer


def with_template(source: str) -> ChatFormat:
    """A small vocabulary with merges, so that a cut at the wrong place shows."""
    tokenizer = train_tokenizer(["one two three \n\n one two"] * 3, vocab_size=300)
    tokenizer.chat_template = source
    return ChatFormat(tokenizer)


def built_in(name: str) -> ChatFormat:
    return with_template(chat_template_source(name))


def rendered(chat: ChatFormat, example: Example, *, train_on: TrainOn = "all") -> RenderedConversation:
    [conversation] = chat.render_conversations([example], train_on=train_on)
    return conversation


def trained_text(chat: ChatFormat, conversation: RenderedConversation) -> str:
    return str(chat.tokenizer.decode(conversation.token_ids[conversation.weights_T > 0]))


def whole_text(chat: ChatFormat, conversation: RenderedConversation) -> str:
    return str(chat.tokenizer.decode(conversation.token_ids))
