"""Removes training examples whose prompt is also a held-out prompt."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from rlpost.records import Example

_MOST_MARKS = 30
_GRAPHEME_JOINER = "\u034f"


class HeldOutSplit(NamedTuple):
    """Training examples without held-out prompts, in their order, and the number of removed ones."""

    kept: list[Example]
    removed: int


def remove_held_out(examples: Sequence[Example], *, held_out: Sequence[Example]) -> HeldOutSplit:
    """Keep the examples whose question is not one of the held-out questions.

    A question is the text of all user turns, and also the source's wording if the recipe's `instruction` replaced it.
    Both are compared ignoring case, white space and Unicode form. Raw documents (`Example.text`) have no question and
    are kept: this finds equal prompts, not quotations.
    """
    forbidden = {question for example in held_out for question in _questions(example)}
    kept = [example for example in examples if forbidden.isdisjoint(_questions(example))]
    return HeldOutSplit(kept=kept, removed=len(examples) - len(kept))


def _questions(example: Example) -> set[str]:
    asked = "\n".join(message.text for message in example.messages if message.role == "user")
    return {normalised for text in (asked, example.source_wording) if (normalised := _normalise(text))}


def _normalise(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", _stream_safe(text)).casefold().split())


def _stream_safe(text: str) -> str:
    """Break up long runs of combining marks, whose sorting takes time quadratic in their number (Unicode Standard Annex
    15, section 13, "Stream-Safe Text Format").
    """
    if len(text) <= _MOST_MARKS:
        return text
    parts: list[str] = []
    start = marks = 0
    for place, character in enumerate(text):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > _MOST_MARKS:
            parts.append(text[start:place])
            start, marks = place, 1
    return _GRAPHEME_JOINER.join([*parts, text[start:]])
