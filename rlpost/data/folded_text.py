"""Text without the differences of case and Unicode form, for comparisons."""

from __future__ import annotations

import unicodedata

_MOST_MARKS = 30
_GRAPHEME_JOINER = "\u034f"


def folded(text: str) -> str:
    """Return the text in NFKC and without case, in time linear in its length."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", _stream_safe(text)).casefold()


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
