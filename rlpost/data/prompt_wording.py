"""Applies the recipe's `instruction` and `system` to a prompt. Templates are filled by name, never evaluated."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rlpost.errors import DataError
from rlpost.recipe.nearest import some_of
from rlpost.records import Example, Message

PLACEHOLDER = re.compile(r"\{(\{\w+\})\}|\{([A-Za-z_]\w*)\}")
"""`{name}`, or `{{name}}` for a literal `{name}`; other braces, as in LaTeX's `x^{2}`, stay as they are."""


def fill_instruction(template: str, *, question: str, metadata: Mapping[str, Any]) -> str:
    r"""Insert `question` and metadata values where the template names them.

    Example: `fill_instruction("{question} Answer in \boxed{}.", question="2+2?", metadata={})` is
    `2+2? Answer in \boxed{}.`

    Raises:
        DataError: the template names a field that the row does not have.
    """
    values = {**metadata, "question": question}

    def value_of(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal is not None:
            return literal
        if name not in values:
            nearest = difflib.get_close_matches(name, values, n=1)
            hint = f"; did you mean {{{nearest[0]}}}?" if nearest else ""
            raise DataError(
                f"instruction names {{{name}}} but the row has {some_of(sorted(values))}{hint} "
                f"Write {{{{{name}}}}} for the text {{{name}}} itself."
            )
        return str(values[name])

    return PLACEHOLDER.sub(value_of, template)


def placeholders(template: str) -> frozenset[str]:
    """Return the names that an instruction has in braces."""
    return frozenset(name for _, name in PLACEHOLDER.findall(template) if name)


def reword(example: Example, *, instruction: str | None, system: str | None) -> Example:
    """Apply the recipe's instruction to the example's last user turn, and add the recipe's system message, if given.

    The recipe's system message replaces the row's own. The replaced wording is kept as `meta["question"]`.

    Raises:
        DataError: the row has no prompt, or lacks a field that the instruction names.
    """
    if instruction is None and system is None:
        return example
    turns = list(example.messages)
    users = [index for index, turn in enumerate(turns) if turn.role == "user"]
    if not users:
        raise DataError(
            f"instruction and system need rows with a prompt; row {example.id} has none: "
            f"remove them from data.{example.dataset} or set columns.prompt"
        )
    meta, source_wording = example.meta, ""
    if instruction is not None:
        question = turns[users[-1]].text
        content = fill_instruction(instruction, question=question, metadata=_metadata(example))
        turns[users[-1]] = replace(turns[users[-1]], content=content)
        meta, source_wording = {**example.meta, "question": question}, question
    if system is not None:
        turns = [Message(role="system", content=system), *(turn for turn in turns if turn.role != "system")]
    return replace(example, messages=tuple(turns), meta=meta, source_wording=source_wording)


def _metadata(example: Example) -> Mapping[str, Any]:
    generated = example.meta.get("reasoning_gym")
    return generated["entry"]["metadata"] if generated is not None else example.meta
