"""The questions of an example, by which training examples that ask a held-out question are found."""

from __future__ import annotations

import unicodedata

from rlpost.records import Example

_MOST_MARKS = 30
_GRAPHEME_JOINER = "\u034f"


def questions_of(example: Example) -> set[str]:
    """Return the questions that an example asks, at most two.

    A question is the text of all user turns, and also the source's wording if the recipe's `instruction` replaced it.
    Case, white space and Unicode form are removed. Raw documents (`Example.text`) have no question: this finds equal
    prompts, not quotations.
    """
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
