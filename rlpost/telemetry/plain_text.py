"""Text from models, data and services, made safe to print: a terminal obeys escape sequences in what it shows."""

from __future__ import annotations

import re

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters except tab and line feed, and marks that change the direction of writing."""


def printable(text: str) -> str:
    r"""Return the text with every character that a terminal would obey written out, for example ESC as `\x1b`."""
    return _OBEYED.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
