"""One row of a file -> one `Example`: which column is the prompt, the answer, the pair, the gold or the document.

Understood are plain columns (`prompt` with `response`), conversations (`messages`), and TRL's conversational formats
(`prompt` as messages, `completion`, `chosen` and `rejected` with the prompt inside or beside).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rlpost.data.optional_library import required_library
from rlpost.data.plain_data import plain
from rlpost.data.source_files import NumberedRow
from rlpost.errors import DataError
from rlpost.recipe.columns import USUAL_COLUMNS
from rlpost.recipe.nearest import some_of
from rlpost.records import Example, Message


def example_of(row: NumberedRow, *, dataset: str, columns: Mapping[str, str]) -> Example:
    """Read one row; columns without a role go to `meta`.

    Raises:
        DataError: a column that the recipe names is not there, no column gives a prompt or a text, or a value has the
            wrong form. The message names data set, row, the columns found and what to set.
    """
    try:
        role_columns = _role_columns(row.columns, columns=columns)
        values = {role: plain(row.columns[column]) for role, column in role_columns.items()}
        taken = set(role_columns.values())
        return _example(
            values,
            id=f"{dataset}/{row.number}",
            dataset=dataset,
            meta={column: plain(value) for column, value in row.columns.items() if column not in taken},
        )
    except DataError as error:
        raise DataError(f"data.{dataset}, row {row.number} (columns: {some_of(row.columns)}): {error}") from error


def _role_columns(row: Mapping[str, Any], *, columns: Mapping[str, str]) -> dict[str, str]:
    """Role -> column; a column without a value (null) plays no role."""
    found: dict[str, str] = {}
    for role, usual in USUAL_COLUMNS.items():
        if role in columns and columns[role] not in row:
            nearest = difflib.get_close_matches(columns[role], row, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise DataError(f"columns.{role} is {columns[role]!r}, which the row does not have{hint}")
        candidates = (columns[role],) if role in columns else usual
        present = [column for column in candidates if row.get(column) is not None]
        if present:
            found[role] = present[0]
    return found


def _example(values: Mapping[str, Any], *, id: str, dataset: str, meta: Mapping[str, Any]) -> Example:
    messages, response, rejected = _conversation(values)
    text = values.get("text")
    if text is not None and not isinstance(text, str):
        raise DataError(f"the text must be a string; found a {type(text).__name__}")
    if not messages and text is None:
        raise DataError(
            "a row needs a prompt, messages or a text: name the column that has it in columns.prompt, "
            "columns.messages or columns.text"
        )
    return Example(
        id=id,
        dataset=dataset,
        messages=messages,
        response=response,
        rejected=rejected,
        gold=values.get("gold"),
        text=text,
        meta=meta,
    )


def _conversation(values: Mapping[str, Any]) -> tuple[tuple[Message, ...], str | None, str | None]:
    """(prompt, response, rejected) of a row."""
    if isinstance(values.get("response"), list) and isinstance(values.get("rejected"), list):
        values = _with_prompt_extracted(values)
    response = _answer(values.get("response"), role="response")
    rejected = _answer(values.get("rejected"), role="rejected")
    if "messages" in values:
        messages = _messages(values["messages"])
        if messages[-1].role == "assistant":
            if response is not None:
                raise DataError(
                    "the messages end with an answer and there is a response besides: leave out one of the two"
                )
            response = messages[-1].content
            messages = messages[:-1]
    elif "prompt" in values:
        prompt = values["prompt"]
        messages = (Message(role="user", content=prompt),) if isinstance(prompt, str) else _messages(prompt)
        if messages[-1].role == "assistant":
            raise DataError("a prompt must end with a user turn; found an assistant turn: use columns.messages instead")
    else:
        return (), response, rejected
    if not any(message.role == "user" for message in messages):
        raise DataError("a prompt needs a user turn; found roles " + ", ".join(message.role for message in messages))
    return messages, response, rejected


def _with_prompt_extracted(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Preference pairs of whole conversations: what both begin with is the prompt."""
    if not values["response"] or not values["rejected"]:
        raise DataError("chosen and rejected must hold messages; found an empty list")
    trl = required_library("trl.data_utils", purpose="a data set with conversations as chosen and rejected")
    pair = {"chosen": values["response"], "rejected": values["rejected"]}
    if values.get("prompt"):
        pair["prompt"] = values["prompt"]
    pair = trl.maybe_extract_prompt(pair)
    others = {role: value for role, value in values.items() if role not in ("messages", "prompt")}
    return {**others, "prompt": pair["prompt"], "response": pair["chosen"], "rejected": pair["rejected"]}


def _answer(value: Any, *, role: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        turns = _messages(value)
        if len(turns) == 1 and turns[0].role == "assistant":
            return turns[0].content
        raise DataError(
            f"the {role} must be one assistant turn; found turns of {', '.join(turn.role for turn in turns)}"
        )
    raise DataError(f"the {role} must be a string or a list of messages; found a {type(value).__name__}")


def _messages(value: Any) -> tuple[Message, ...]:
    if isinstance(value, list) and value:
        return tuple(_message(turn) for turn in cast("Sequence[Any]", value))
    found = "an empty list" if value == [] else f"a {type(cast('object', value)).__name__}"
    raise DataError(f"a prompt must be a string, or a list of messages with role and content; found {found}")


def _message(turn: Any) -> Message:
    if isinstance(turn, dict):
        fields = cast("dict[str, Any]", turn)
        role, content = fields.get("role"), fields.get("content")
        if isinstance(role, str) and isinstance(content, str):
            return Message(role=role, content=content)
    raise DataError(f"a message must have a role and a content, both strings; found {str(cast('object', turn))[:100]}")
