"""Remembers the values that recipes took from the environment, so that they can be hidden in output and stored files.

There is one memory per process, because a value may be quoted anywhere (the answer of a service, an error of a
library).
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
"""Shorter values are not hidden, because they are numbers and words that occur everywhere."""

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
    """Return the text with every remembered value replaced by `${env:NAME}`, even inside quotes."""
    longest_first = sorted(_values.items(), key=lambda item: len(item[1]), reverse=True)
    for name, value in longest_first:
        if name not in _open and len(value) >= _SHORTEST:
            for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
                text = text.replace(form, f"${{env:{name}}}")
    return text


def hidden_in(content: Any) -> Any:
    """Return plain data with `hidden` applied to all texts."""
    if not _values:
        return content
    if isinstance(content, str):
        return hidden(content)
    if isinstance(content, Mapping):
        return {key: hidden_in(value) for key, value in cast("Mapping[Any, Any]", content).items()}
    if isinstance(content, list | tuple):
        return [hidden_in(value) for value in cast("list[Any]", content)]
    return content
