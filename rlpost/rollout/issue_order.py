"""Keeps track of the row that each prompt of a stage stands for, and passes scored groups on to the sampler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlpost.interfaces import Sampler
from rlpost.records import RolloutGroup


class IssueOrder:
    """Maps an index in the order of issue to a row. Not thread-safe: the buffer guards it, together with the ledger.

    An index keeps its row from the first time that it is issued until it is trained or dropped, also over a resume. The
    sampler observes each scored group once, at the end of the step in which the group was scored. A group that was
    observed before a checkpoint and is generated again after it is not observed again.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._rows: dict[int, int] = {}
        self._told: set[int] = set()
        """Indices that are open, and whose groups the sampler has observed."""
        self._scored: dict[int, RolloutGroup] = {}

    def issue(self, indices: Sequence[int]) -> None:
        """Give the sampler's next rows to those of these indices, in order, that were not issued before."""
        new = [index for index in indices if index not in self._rows]
        self._rows.update(zip(new, self._sampler.next(len(new)), strict=True))

    def row_of(self, index: int) -> int:
        """Return the row of an open index."""
        return self._rows[index]

    def note_scored(self, group: RolloutGroup) -> None:
        """Keep the group of an open index, which now has its verdicts, for the sampler."""
        if group.index not in self._told:
            self._scored[group.index] = group

    def end_step(self) -> None:
        """Let the sampler observe all groups that were scored since the last step, in the order of issue."""
        indices = sorted(self._scored)
        self._sampler.observe([self._scored[index] for index in indices])
        self._told.update(index for index in indices if index in self._rows)
        self._scored = {}

    def finish(self, indices: Iterable[int]) -> None:
        """Forget these indices, which are trained or dropped and never issued again."""
        for index in indices:
            del self._rows[index]
            self._told.discard(index)

    def state(self) -> dict[str, Any]:
        """Return plain data for a checkpoint. Call it after `end_step`, when the sampler has observed everything."""
        assert not self._scored, "the sampler observes all scored groups before its state is saved"
        return {
            "open": [[index, row] for index, row in sorted(self._rows.items())],
            "told": sorted(self._told),
            "sampler": self._sampler.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state` returned.

        Raises:
            DataError: it is the state of a sampler over other rows.
        """
        self._sampler.load(state["sampler"])
        self._rows, self._told = dict(state["open"]), set(state["told"])
