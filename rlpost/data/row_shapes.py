"""Turns rows of well-known shapes into rows with our own columns; nothing of a row is dropped."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from rlpost.data.plain_data import is_text
from rlpost.errors import DataError
from rlpost.recipe.row_shapes import ShapeName, shapes_of

_ROLES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
}
_TURN = re.compile(r"\n\n(Human|Assistant): ?")
_FINAL = re.compile(r"####\s*(.+?)\s*$")


def shape_of(row: Mapping[str, Any], *, named: Collection[str]) -> ShapeName:
    """Return the shape of a row; `plain` if it needs no change.

    `named` are the roles for which the recipe names a column.
    """
    found: list[ShapeName] = [name for name in shapes_of(row, named=named) if _FITS[name](row)]
    return found[0] if found else "plain"


def in_our_columns(row: Mapping[str, Any], shape: ShapeName) -> Mapping[str, Any]:
    """Return the row with the columns `messages`, `prompt`, `response`, `rejected` and `gold` that its shape gives.

    Raises:
        DataError: the row does not have the form of its shape.
    """
    return row if shape == "plain" else _READ[shape](row)


def _sharegpt(row: Mapping[str, Any]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for turn in cast("list[Any]", row["conversations"]):
        if not isinstance(turn, dict) or not {"from", "value"} <= set(cast("dict[str, Any]", turn)):
            raise DataError("a turn of conversations must have `from` and `value`, both texts")
        said = cast("dict[str, Any]", turn)
        role = _ROLES.get(str(said["from"]).lower())
        if role is None:
            raise DataError(
                f"a turn of conversations must be from one of {', '.join(_ROLES)}; found {said['from']!r}: write the "
                "rows as messages"
            )
        others = {key: value for key, value in said.items() if key not in ("from", "value")}
        turns.append({"role": role, "content": said["value"], **others})
    rest = {column: value for column, value in row.items() if column != "conversations"}
    system = rest.pop("system", None)
    if system:
        turns.insert(0, {"role": "system", "content": system})
    return {**rest, "messages": turns}


def _alpaca(row: Mapping[str, Any]) -> dict[str, Any]:
    return _instructed(row, about="input", answer="output")


def _dolly(row: Mapping[str, Any]) -> dict[str, Any]:
    return _instructed(row, about="context", answer="response")


def _instructed(row: Mapping[str, Any], *, about: str, answer: str) -> dict[str, Any]:
    parts = [row["instruction"], row.get(about) or ""]
    rest = {column: value for column, value in row.items() if column not in ("instruction", about, answer)}
    return {**rest, "prompt": "\n\n".join(part for part in parts if part), "response": row[answer]}


def _human_assistant(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "chosen": _spoken(row["chosen"]), "rejected": _spoken(row["rejected"])}


def _spoken(text: str) -> list[dict[str, str]]:
    before, *parts = _TURN.split(text)
    if before.strip():
        raise DataError(f"a text of turns must begin with a blank line and `Human:`; found {before[:60]!r}")
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": said.strip()} for who, said in zip(parts[::2], parts[1::2], strict=True)]


def _gsm8k(row: Mapping[str, Any]) -> dict[str, Any]:
    rest = {column: value for column, value in row.items() if column not in ("question", "answer")}
    final = _FINAL.search(row["answer"])
    assert final is not None, "the shape was recognised by it"
    return {**rest, "prompt": row["question"], "response": row["answer"], "gold": final[1].replace(",", "")}


def _verl(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "gold": row["reward_model"]["ground_truth"]}


def _open_instruct(row: Mapping[str, Any]) -> dict[str, Any]:
    rest = {column: value for column, value in row.items() if column != "ground_truth"}
    return {**rest, "gold": row["ground_truth"]}


def _has_turns(row: Mapping[str, Any]) -> bool:
    turns = row["conversations"]
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "from" in turns[0]


_FITS: Mapping[ShapeName, Callable[[Mapping[str, Any]], bool]] = {
    "sharegpt": _has_turns,
    "alpaca": lambda row: is_text(row["instruction"], row["output"]),
    "dolly": lambda row: is_text(row["instruction"], row["response"]),
    "open_instruct": lambda row: row["ground_truth"] is not None,
    "verl": lambda row: isinstance(row["reward_model"], dict) and "ground_truth" in row["reward_model"],
    "human_assistant": lambda row: is_text(row["chosen"], row["rejected"]) and _TURN.match(row["chosen"]) is not None,
    "gsm8k": lambda row: is_text(row["question"], row["answer"]) and _FINAL.search(row["answer"]) is not None,
}
_READ: Mapping[ShapeName, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "dolly": _dolly,
    "human_assistant": _human_assistant,
    "gsm8k": _gsm8k,
    "verl": _verl,
    "open_instruct": _open_instruct,
}
