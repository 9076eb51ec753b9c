"""Which row of the data each prompt of a stage is, and what the sampler that chooses rows is told of the scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlpost.interfaces import Sampler
from rlpost.records import RolloutGroup


class IssueOrder:
    """Index in the order of issue -> row. Not thread-safe: the buffer guards it, together with the ledger.

    An index keeps its row from the first time that it is issued until it is trained or dropped, also over a resume. The
    sampler is told of each scored group once, at the end of the step in which it was scored; one that was told before
    a checkpoint and is generated again after it is not told again.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._rows: dict[int, int] = {}
        self._told: set[int] = set()
        """Indices that are open, and whose groups the sampler knows."""
        self._scored: dict[int, RolloutGroup] = {}

    def issue(self, indices: Sequence[int]) -> None:
        """These indices are issued, in order; those that were not issued before get the sampler's next rows."""
        new = [index for index in indices if index not in self._rows]
        self._rows.update(zip(new, self._sampler.next(len(new)), strict=True))

    def row_of(self, index: int) -> int:
        """The row of an index that is open."""
        return self._rows[index]

    def note_scored(self, group: RolloutGroup) -> None:
        """An open index has its verdicts."""
        if group.index not in self._told:
            self._scored[group.index] = group

    def end_step(self) -> None:
        """Tell the sampler of all groups that were scored since the last step, in the order of issue."""
        indices = sorted(self._scored)
        self._sampler.observe([self._scored[index] for index in indices])
        self._told.update(index for index in indices if index in self._rows)
        self._scored = {}

    def finish(self, indices: Iterable[int]) -> None:
        """These indices are trained or dropped, and never issued again."""
        for index in indices:
            del self._rows[index]
            self._told.discard(index)

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint; taken right after `end_step`, when nothing is untold."""
        assert not self._scored, "the sampler is told of all scored groups before its state is saved"
        return {
            "open": [[index, row] for index, row in sorted(self._rows.items())],
            "told": sorted(self._told),
            "sampler": self._sampler.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            DataError: it is the state of a sampler over other rows.
        """
        self._sampler.load(state["sampler"])
        self._rows, self._told = dict(state["open"]), set(state["told"])
