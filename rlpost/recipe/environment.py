"""Remembers the values that recipes took from the environment, so that they can be hidden in output and stored files.

There is one memory per process, because a value may be quoted anywhere (the answer of a service, an error of a
library).
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, cast
from urllib.parse import quote, quote_plus

REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
"""`${env:NAME}` or `${env:NAME:-default}`."""

_SHORTEST = 6
"""Shorter values are not hidden, because they are numbers and words that occur everywhere."""

_AFTER_A_CUT = "'\"\n\u2026"
"""Characters that follow a quotation which was cut."""

_values: dict[str, str] = {}
_open: set[str] = set()


def read_variable(name: str) -> str | None:
    """Return the value of a variable, if it is set."""
    value = os.environ.get(name)
    if value is not None:
        _values[name] = value
    return value


def show_openly(template: str) -> None:
    """Treat the variables in this text of a recipe as public, because they name the run or its folder."""
    _open.update(match.group(1) for match in REFERENCE.finditer(template))


def hidden(text: str) -> str:
    """Return the text with every remembered value replaced by `${env:NAME}`.

    A value is recognised inside quotes, in the common encodings (percent, HTML, base64, hexadecimal), and where a text
    that was cut ends in its first characters.
    """
    longest_first = sorted(_values.items(), key=lambda item: len(item[1]), reverse=True)
    for name, value in longest_first:
        if name not in _open and len(value) >= _SHORTEST:
            for form in _forms(value):
                text = text.replace(form, f"${{env:{name}}}")
    for name, value in longest_first:
        if name not in _open and len(value) >= _SHORTEST:
            for form in _forms(value):
                text = _without_cut(text, form, f"${{env:{name}}}")
    return text


def hidden_in(content: Any) -> Any:
    """Return plain data with `hidden` applied to all texts."""
    if not _values:
        return content
    if isinstance(content, str):
        return hidden(content)
    if isinstance(content, Mapping):
        return {hidden_in(key): hidden_in(value) for key, value in cast("Mapping[Any, Any]", content).items()}
    if isinstance(content, list | tuple):
        return [hidden_in(value) for value in cast("list[Any]", content)]
    return content


@cache
def _forms(value: str) -> tuple[str, ...]:
    """Return the value as it is, as it is quoted, and as it is encoded."""
    data = value.encode(errors="surrogateescape")
    percent = quote(value, safe="", errors="surrogateescape")
    forms = [value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    forms += [percent, percent.lower(), quote(value, errors="surrogateescape")]
    forms += [quote_plus(value, errors="surrogateescape"), html.escape(value), data.hex(), data.hex().upper()]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):  # what precedes the value, such as a user's name, shifts its groups of three bytes
            spoiled_at_end = (before + len(data)) % 3
            encoded = encode(bytes(before) + data).decode().rstrip("=")
            forms.append(encoded[(0, 2, 3)[before] : len(encoded) - bool(spoiled_at_end)])
    return tuple(dict.fromkeys(form for form in forms if len(form) >= _SHORTEST))


def _without_cut(text: str, form: str, shown: str) -> str:
    """Replace the first characters of the form where the text, or a quotation in it, ends with them."""
    place = text.find(form[:_SHORTEST])
    while place >= 0:
        end = place + _SHORTEST
        while end < len(text) and end - place < len(form) and text[end] == form[end - place]:
            end += 1
        is_cut = end == len(text) or (text[end] in _AFTER_A_CUT and 4 * (end - place) >= len(form))
        if is_cut:
            text, end = text[:place] + shown + text[end:], place + len(shown)
        place = text.find(form[:_SHORTEST], end)
    return text
