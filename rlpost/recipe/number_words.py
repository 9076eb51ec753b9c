"""Numbers as `rlpost check` prints them."""

from __future__ import annotations


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def passes(number: float) -> str:
    """`1 pass`, `2.5 passes`."""
    return "1 pass" if number == 1 else f"{number:.3g} passes"
