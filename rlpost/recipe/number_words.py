"""Formats numbers as `rlpost check` prints them."""

from __future__ import annotations


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Format as `1 row` or `2,000 rows`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def passes(number: float) -> str:
    """Format as `1 pass` or `2.5 passes`."""
    return "1 pass" if number == 1 else f"{number:.3g} passes"
