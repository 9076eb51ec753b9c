"""Readers for the arguments of instructions in a gold; a reader raises ValueError if a value does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from rewards.extraction import plain_characters

Relation = Literal["at least", "less than", "at most", "more than", "exactly"]
Quantifier = Literal["at least", "around", "at most"]
_RELATIONS: tuple[Relation, ...] = ("at least", "less than", "at most", "more than", "exactly")
_QUANTIFIERS: tuple[Quantifier, ...] = ("at least", "around", "at most")
_OR = re.compile(r"\bor\b")


class Kind(NamedTuple):
    """One kind of instruction: the function that checks a text, and a reader for each of its arguments."""

    check: Callable[..., bool]
    readers: Mapping[str, Callable[[object], Any]]
    """Readers by the argument's name in the gold; arguments that are not `optional` must be given."""
    optional: tuple[str, ...] = ()
    names: Mapping[str, str] = {}
    """Names of arguments in the checking function, unless they are the gold's names in lower case."""
    fits: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether the arguments (by the function's names) are consistent, so that some text can follow the instruction."""


def holds(count: int, *, relation: Relation, limit: int) -> bool:
    """Whether the count has this relation to the limit."""
    if relation == "at least":
        return count >= limit
    if relation == "less than":
        return count < limit
    if relation == "at most":
        return count <= limit
    return count > limit if relation == "more than" else count == limit


def a_count(value: object) -> int:
    """Read a whole number from 0; columns with gaps hold it as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
        raise ValueError(f"{value!r:.50} is not a count")
    return int(value)


def an_index(value: object) -> int:
    """Read a whole number from 1."""
    if a_count(value) < 1:
        raise ValueError("counting starts at 1")
    return a_count(value)


def a_relation(value: object) -> Relation:
    """Read one of the known relations."""
    for relation in _RELATIONS:
        if relation == value:
            return relation
    raise ValueError(f"{value!r:.50} is not one of {', '.join(_RELATIONS)}")


def a_quantifier(value: object) -> Quantifier:
    """Read one of TÜLU 3's quantifiers."""
    for quantifier in _QUANTIFIERS:
        if quantifier == value:
            return quantifier
    raise ValueError(f"{value!r:.50} is not one of {', '.join(_QUANTIFIERS)}")


def a_text(value: object) -> str:
    """Read a text that is not blank, under the Unicode policy, as responses are read."""
    text = plain_characters(value).strip() if isinstance(value, str) else ""
    if not text:
        raise ValueError(f"{value!r:.50} is not a text")
    return text


def a_first_text(value: object) -> str:
    """Read a text, or the first of a list of texts."""
    return a_text(value) if isinstance(value, str) else texts(value)[0]


def given_characters(value: object) -> str:
    """Read a text exactly as the gold has it, for an instruction that counts its characters."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r:.50} is not a text")
    return value


def a_letter(value: object) -> str:
    """Read one character, in the case of the gold."""
    text = a_text(value)
    if len(text) != 1:
        raise ValueError(f"{value!r:.50} is not one character")
    return text


def a_character(value: object) -> str:
    """Read one character, folded."""
    return a_letter(value).lower()


def texts(value: object) -> list[str]:
    """Read a list of at least one text."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{value!r:.50} is not a list of texts")
    return [a_text(one) for one in cast("Sequence[object]", value)]


def options(value: object) -> list[str]:
    """Read at least one answer to choose from: a list, or a text such as `yes/no`, `I know or I don't know` or `a), b),
    c)`.
    """
    if not isinstance(value, str):
        return texts(value)
    text = a_text(value)
    parts = text.split("/") if "/" in text else _OR.split(text) if _OR.search(text) else text.split(",")
    return texts([part for part in parts if part.strip()])
