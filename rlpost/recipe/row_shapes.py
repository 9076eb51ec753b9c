"""The shapes of rows that people have, told apart by their columns; `data.row_shapes` reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

ShapeName = Literal["plain", "sharegpt", "alpaca", "dolly", "human_assistant", "gsm8k", "verl", "open_instruct"]

COLUMNS: Mapping[ShapeName, frozenset[str]] = {
    "sharegpt": frozenset({"conversations"}),
    "alpaca": frozenset({"instruction", "output"}),
    "dolly": frozenset({"instruction", "response"}),
    "open_instruct": frozenset({"messages", "ground_truth"}),
    "verl": frozenset({"prompt", "reward_model"}),
    "human_assistant": frozenset({"chosen", "rejected"}),
    "gsm8k": frozenset({"question", "answer"}),
}
"""Shape -> the columns that all its rows have. Rows of two shapes count as the first."""
SHAPE_WORDS: Mapping[ShapeName, str] = {
    "sharegpt": "conversations of `from` and `value`, as ShareGPT has them",
    "alpaca": "`instruction`, `input` and `output`, as Alpaca has them",
    "dolly": "`instruction`, `context` and `response`, as Dolly has them",
    "open_instruct": "`messages` and `ground_truth`, as open-instruct has them",
    "verl": "`prompt` and `reward_model.ground_truth`, as verl has them",
    "human_assistant": "texts of `Human:` and `Assistant:` turns, as Anthropic's HH has them",
    "gsm8k": "`question` and an `answer` that ends in `####`, as GSM8K has them",
}
GIVES: Mapping[ShapeName, frozenset[str]] = {
    "sharegpt": frozenset({"messages"}),
    "alpaca": frozenset({"prompt", "response"}),
    "dolly": frozenset({"prompt", "response"}),
    "open_instruct": frozenset({"messages", "gold"}),
    "verl": frozenset({"prompt", "gold"}),
    "human_assistant": frozenset({"response", "rejected"}),
    "gsm8k": frozenset({"prompt", "response", "gold"}),
}
"""Shape -> the roles that its rows fill."""
HOLDS_MESSAGES: frozenset[ShapeName] = frozenset({"sharegpt", "open_instruct", "human_assistant"})
"""Shapes whose prompt and answers are conversations."""


def shapes_of(columns: Collection[str], *, named: Collection[str]) -> list[ShapeName]:
    """Return the shapes that rows with these columns may have.

    Args:
        columns: The columns of a row.
        named: The roles for which the recipe names a column. A shape that would fill one of them is not taken, and
            none is where the recipe says where prompt or answer are.
    """
    if {"prompt", "messages", "response", "rejected", "text"} & set(named):
        return []
    return [name for name, wanted in COLUMNS.items() if wanted.issubset(columns) and GIVES[name].isdisjoint(named)]
