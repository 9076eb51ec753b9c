"""Compares scores, which are sums of weighted parts: two that are equal on paper may differ in their last digits."""

from __future__ import annotations

from collections.abc import Iterable

ROUNDING = 1e-10
"""Two scores that differ by less are equal; a share of the score if it is larger than 1."""


def reaches(score: float, bound: float) -> bool:
    """Whether a score is at least the bound, which is finite: weights of 0.7, 0.2 and 0.1 reach 1."""
    return score >= bound - ROUNDING * max(1.0, abs(bound))


def exceeds(score: float, bound: float) -> bool:
    """Whether a score is above the bound by more than rounding."""
    return score > bound + ROUNDING * max(1.0, abs(bound))


def differ(scores: Iterable[float]) -> bool:
    """Whether scores differ by more than rounding; without two of them there is nothing to compare."""
    values = list(scores)
    return bool(values) and exceeds(max(values), min(values))
