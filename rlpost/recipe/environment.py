"""Values that recipes took from the environment: remembered here, so that they stay out of what is shown and stored.

One memory a process, because what quotes a value (the answer of a service, an error of a library) may come up anywhere.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, cast

REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
"""`${env:NAME}` or `${env:NAME:-default}`."""

_SHORTEST = 6
"""Shorter values are numbers and words that would be found everywhere."""

_values: dict[str, str] = {}
_open: set[str] = set()


def take(name: str) -> str | None:
    """The value of a variable, if it is set."""
    value = os.environ.get(name)
    if value is not None:
        _values[name] = value
    return value


def show_openly(template: str) -> None:
    """The variables in this text, as a recipe has it, are no secrets: they name the run or its folder."""
    _open.update(match.group(1) for match in REFERENCE.finditer(template))


def hidden(text: str) -> str:
    """The text with `${env:NAME}` in place of every value that was taken, also where it is quoted."""
    longest_first = sorted(_values.items(), key=lambda item: len(item[1]), reverse=True)
    for name, value in longest_first:
        if name not in _open and len(value) >= _SHORTEST:
            for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
                text = text.replace(form, f"${{env:{name}}}")
    return text


def hidden_in(content: Any) -> Any:
    """Plain data, all its texts hidden."""
    if not _values:
        return content
    if isinstance(content, str):
        return hidden(content)
    if isinstance(content, Mapping):
        return {key: hidden_in(value) for key, value in cast("Mapping[Any, Any]", content).items()}
    if isinstance(content, list | tuple):
        return [hidden_in(value) for value in cast("list[Any]", content)]
    return content
