"""Judging one response by instructions that a gold names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rewards.ifeval import followed
from rlpost.records import Sample, Verdict


def judged(response: str, gold: Any, **params: Any) -> Verdict:
    """The verdict on a response."""
    return followed.judge(Sample(id="s", prompt="", response=response, gold=gold), params=params)


def one(name: str, **kwargs: Any) -> list[dict[str, Any]]:
    """A gold with one instruction."""
    return [{"instruction_id": name, "kwargs": kwargs}]


def pairs(rows: Iterable[tuple[str, dict[str, Any], str, str]]) -> list[Any]:
    """The rows as parameters of a test, each named by its instruction and number."""
    import pytest

    return [pytest.param(*row, id=f"{number}-{row[0]}") for number, row in enumerate(rows)]
