"""Reads messages and tool schemas as data sets write them into `Message`; nothing is dropped silently."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from rlpost.data.chat_template import REASONING_KEYS, RESERVED_ARGUMENTS
from rlpost.data.plain_data import plain
from rlpost.errors import DataError
from rlpost.records import Message

KNOWN_KEYS = frozenset({"role", "content", *REASONING_KEYS, "tool_calls", "tool_call_id", "name", "train", "weight"})
_KEYS_OF_CALLS = frozenset({"id", "type", "index", "function"})
"""`index` numbers the calls of a turn, as their order in the list does."""
_KEYS_OF_FUNCTIONS = frozenset({"name", "arguments"})
_FORM = "a message must have a role and a content, both strings"


def read_messages(value: Any, *, ignored: Collection[str]) -> tuple[Message, ...]:
    """Read the turns of a column; `ignored` are keys that are not for the model according to the recipe.

    Raises:
        DataError: it is not a list of messages, or a message has a key that would not be read.
    """
    value = _from_json(value)
    if isinstance(value, list) and value:
        turns = cast("Sequence[Any]", value)
        return tuple(_message(turn, index=index, ignored=ignored) for index, turn in enumerate(turns))
    found = "an empty list" if value == [] else f"a {type(cast('object', value)).__name__}"
    raise DataError(f"a prompt must be a string, or a list of messages with role and content; found {found}")


def read_tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Read the tool schemas of a row: a list of JSON schemas, or the JSON text of such a list.

    Raises:
        DataError: it is anything else.
    """
    tools = _from_json(value)
    if isinstance(tools, list) and all(isinstance(tool, dict) for tool in cast("list[Any]", tools)):
        return tuple(cast("list[dict[str, Any]]", tools))
    raise DataError(f"tools must be a list of JSON schemas; found {str(value)[:100]}")


def read_arguments(value: Any) -> Mapping[str, Any]:
    """Read the arguments that a row passes to the chat template.

    Raises:
        DataError: it is not a mapping, or names an argument that a row may not set.
    """
    arguments = _from_json(value)
    if not isinstance(arguments, dict):
        raise DataError(f"the arguments of a chat template must be a mapping; found {str(value)[:100]}")
    found = cast("dict[str, Any]", arguments)
    taken = [name for name in found if name in RESERVED_ARGUMENTS]
    if taken:
        raise DataError(f"a chat template's {taken[0]} cannot be given as an argument: take it out")
    return found


def is_empty(value: Any) -> bool:
    """Whether a value is empty, like the nulls and empty lists with which tables fill their columns."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def without_nulls(value: Any) -> Any:
    """Return the value without keys whose value is null, at any depth.

    Arrow gives all mappings of a column the same keys, and fills in null for missing ones: otherwise a call of a tool
    that takes a city would seem to have the arguments of every other tool too.
    """
    if isinstance(value, list):
        return [without_nulls(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: without_nulls(item) for key, item in items if item is not None}
    return value


def _message(turn: Any, *, index: int, ignored: Collection[str]) -> Message:
    if not isinstance(turn, dict):
        raise DataError(f"{_FORM}; found {str(turn)[:100]}")
    fields = {key: value for key, value in cast("dict[str, Any]", turn).items() if key not in ignored}
    if "from" in fields and "value" in fields:
        raise DataError(
            f"{_FORM}; message {index} has ShareGPT's from and value: rename them to role and content, and human and "
            "gpt to user and assistant"
        )
    unread = [key for key, value in fields.items() if key not in KNOWN_KEYS and not is_empty(value)]
    role = fields.get("role")
    if unread and isinstance(role, str):
        raise DataError(
            f"message {index} ({role}) has the key {unread[0]}, which nothing here reads, so that it would vanish: "
            f"rename it to one of {', '.join(sorted(KNOWN_KEYS))}, or list it in not_rendered"
        )
    calls = _tool_calls(fields.get("tool_calls"), index=index, ignored=ignored)
    reasoning = _text_of(fields, REASONING_KEYS, index=index)
    content = _content(fields.get("content"), index=index)
    if not isinstance(role, str) or (content is None and not calls and reasoning is None):
        raise DataError(f"{_FORM}; found {str(cast('object', turn))[:100]}")
    if (calls or reasoning is not None) and role != "assistant":
        raise DataError(
            f"message {index} ({role}) has tool_calls or reasoning, which only an assistant's turn can have"
        )
    return Message(
        role=role,
        content=content,
        reasoning_content=reasoning,
        tool_calls=calls,
        tool_call_id=_text_of(fields, ("tool_call_id",), index=index),
        name=_text_of(fields, ("name",), index=index),
        train=_train(fields, index=index, role=role),
    )


def _content(value: Any, *, index: int) -> str | None:
    """Read text; text parts of a list are joined without a separator."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = [_part_text(part, index=index) for part in cast("list[Any]", value)]
        return "".join(texts)
    raise DataError(f"{_FORM}; message {index} has a content of {type(value).__name__}")


def _part_text(part: Any, *, index: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        fields = cast("dict[str, Any]", part)
        if fields.get("type", "text") == "text" and isinstance(fields.get("text"), str):
            return fields["text"]
        raise DataError(
            f"{_FORM}; message {index} has a part of type {fields.get('type')}, and only text is rendered: take the "
            "row out"
        )
    raise DataError(f"{_FORM}; message {index} has a part that is a {type(part).__name__}")


def _tool_calls(value: Any, *, index: int, ignored: Collection[str]) -> tuple[Mapping[str, Any], ...]:
    """Read the calls of a turn, with their arguments as a mapping, parsed from JSON text if necessary."""
    if is_empty(value):
        return ()
    calls = _from_json(value)
    if not isinstance(calls, list):
        raise DataError(f"tool_calls of message {index} must be a list; found {str(value)[:100]}")
    return tuple(_tool_call(call, index=index, ignored=ignored) for call in cast("list[Any]", calls))


def _tool_call(call: Any, *, index: int, ignored: Collection[str]) -> Mapping[str, Any]:
    fields = cast("dict[str, Any]", call) if isinstance(call, dict) else {}
    if "function" not in fields:  # Hermes and others write the function without OpenAI's wrapper.
        outer = {key: value for key, value in fields.items() if key in _KEYS_OF_CALLS}
        fields = {**outer, "function": {key: value for key, value in fields.items() if key not in outer}}
    function = cast("dict[str, Any]", fields["function"]) if isinstance(fields["function"], dict) else {}
    arguments = _from_json(function.get("arguments") or {})
    if not isinstance(function.get("name"), str) or not isinstance(arguments, dict):
        raise DataError(
            f"a tool call must have a function with a name and arguments (a mapping, or JSON text of one); message "
            f"{index} has {str(call)[:100]}"
        )
    for part, known in ((fields, _KEYS_OF_CALLS), (function, _KEYS_OF_FUNCTIONS)):
        unread = [key for key, value in part.items() if key not in known | set(ignored) and not is_empty(value)]
        if unread:
            raise DataError(
                f"a tool call of message {index} has the key {unread[0]}, which nothing here reads, so that it would "
                "vanish: take it out, or list it in not_rendered"
            )
    return {"type": "function", **fields, "function": {**function, "arguments": arguments}}


def _train(fields: Mapping[str, Any], *, index: int, role: str) -> bool | None:
    train, weight = fields.get("train"), fields.get("weight")
    if train is not None and not isinstance(train, bool):
        raise DataError(f"train of message {index} must be true or false; found {train!r}")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        raise DataError(f"weight of message {index} must be 0 or 1; found {weight!r}")
    if train is not None and weight is not None and train != bool(weight):
        raise DataError(f"message {index} has train: {train} and weight: {weight}, which say the opposite")
    wanted = train if train is not None else None if weight is None else bool(weight)
    if wanted and role != "assistant":
        raise DataError(f"message {index} ({role}) says that it is to be trained; only an assistant's turn can be")
    return wanted


def _text_of(fields: Mapping[str, Any], keys: Sequence[str], *, index: int) -> str | None:
    """Return the text under one of these keys, which are synonyms."""
    present = [key for key in keys if fields.get(key) not in (None, "")]
    if not present:
        return None
    if len(present) > 1:
        raise DataError(
            f"message {index} has {present[0]} and {present[1]}, which mean the same: leave out one of them"
        )
    value = fields[present[0]]
    if not isinstance(value, str):
        raise DataError(f"{present[0]} of message {index} must be text; found a {type(value).__name__}")
    return value


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return plain(json.loads(value))
    except DataError:
        raise
    except (ValueError, RecursionError):
        return value
