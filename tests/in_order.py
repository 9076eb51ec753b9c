"""Rows in their own order, for tests in which an index of the ledger stands for the row of the same number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlpost.records import RolloutGroup
from rlpost.rollout.issue_order import IssueOrder


class InOrder:
    """A `Sampler` that counts; `observed` holds the indices of the groups that it was told of, step by step."""

    def __init__(self) -> None:
        self._next = 0
        self.observed: list[list[int]] = []

    def next(self, count: int) -> list[int]:
        self._next += count
        return list(range(self._next - count, self._next))

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        self.observed.append([group.index for group in groups])

    def state(self) -> dict[str, Any]:
        return {"next": self._next, "observed": self.observed}

    def load(self, state: Mapping[str, Any]) -> None:
        self._next, self.observed = state["next"], [list(step) for step in state["observed"]]


def in_order() -> IssueOrder:
    return IssueOrder(InOrder())
