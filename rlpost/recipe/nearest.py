"""Hints for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from rlpost.errors import shortened

_MOST_NAMES = 20
_LONGEST_NAME = 40


def nearest_words(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name; if none is near, list all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known are {', '.join(f'`{other}`' for other in names)}" if names else "none is defined"


def some_of(names: Iterable[str]) -> str:
    """List the first names, and count the others."""
    every = list(names)
    shown = [shortened(name, most=_LONGEST_NAME) for name in every[:_MOST_NAMES]]
    if len(every) > len(shown):
        shown.append(f"and {len(every) - len(shown)} more")
    return ", ".join(shown) or "none"
