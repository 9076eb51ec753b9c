"""What became of every prompt of a stage: issued, scored, and in the end trained or dropped, exactly once.

Prompts are known by their index, which is their place in the order of issue. A run that is resumed from `state` issues
again what was open, and never what was finished.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class LedgerCut(NamedTuple):
    """The ledger at one moment: what a line of the journal says, and the state that goes with it."""

    issued: int
    """The first index that was never issued, in all runs of the stage."""
    open: tuple[int, ...]
    """Indices below `issued` that are neither trained nor dropped, in order."""
    dropped: dict[int, str]
    """Index -> reason, of what was dropped since the cut before, in order."""
    state: dict[str, Any]
    """What a resumed stage makes its ledger from."""


class PromptLedger:
    """Every issued index is in one state; an illegal transition is a bug and asserts. Not thread-safe.

    Keeps what is open, and what is finished above the first open index: both are bounded by the buffer's capacity, not
    by the length of the run.
    """

    def __init__(self) -> None:
        self._next = 0
        self._issued = 0
        self._first_open = 0
        self._since_train = 0
        self._issued_at: dict[int, int] = {}
        self._scored: set[int] = set()
        self._finished_above: set[int] = set()
        self._trained = 0
        self._dropped: dict[str, int] = {}
        self._dropped_since_cut: dict[int, str] = {}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PromptLedger:
        """Go on after `state`: its open indices come again, its finished ones never."""
        ledger = cls()
        ledger._first_open = ledger._next = state["first_open"]
        ledger._finished_above = set(state["finished_above"])
        ledger._since_train = state["since_train"]
        # What was open comes again, and was issued all the same.
        ledger._issued = max(ledger._first_open, ledger._since_train, *(one + 1 for one in ledger._finished_above))
        ledger._trained = state["trained"]
        ledger._dropped = dict(state["dropped"])
        assert ledger._first_open not in ledger._finished_above, "the first open index is not finished"
        return ledger

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint; `since_train` is as in the property of that name."""
        return {
            "first_open": self._first_open,
            "finished_above": sorted(self._finished_above),
            "since_train": self._since_train,
            "trained": self._trained,
            "dropped": dict(sorted(self._dropped.items())),
        }

    def cut(self) -> LedgerCut:
        """The ledger as it is now; what was dropped up to now is in no later cut."""
        dropped, self._dropped_since_cut = dict(sorted(self._dropped_since_cut.items())), {}
        open_ones = (one for one in range(self._first_open, self._issued) if one not in self._finished_above)
        return LedgerCut(issued=self._issued, open=tuple(open_ones), dropped=dropped, state=self.state())

    @property
    def trained(self) -> int:
        """Prompts trained so far, in all runs of the stage."""
        return self._trained

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> prompts dropped for it so far, in all runs of the stage."""
        return dict(self._dropped)

    @property
    def since_train(self) -> int:
        """The first index that was not yet issued when prompts were trained last."""
        return self._since_train

    def missing(self) -> list[int]:
        """Indices that are issued and not yet scored, in order."""
        return sorted(self._issued_at.keys() - self._scored)

    def version_of(self, index: int) -> int:
        """The weight version at which an open index was issued."""
        return self._issued_at[index]

    def issue(self, *, version: int) -> int:
        """The next index that was never finished."""
        index = self._next
        assert index not in self._issued_at, f"prompt {index} is open already"
        self._issued_at[index] = version
        self._next += 1
        self._issued = max(self._issued, self._next)
        while self._next in self._finished_above:
            self._next += 1
        return index

    def score(self, index: int) -> None:
        """All samples of an issued prompt have verdicts."""
        assert index in self._issued_at, f"prompt {index} is not open, so it cannot be scored"
        assert index not in self._scored, f"prompt {index} was scored twice"
        self._scored.add(index)

    def train(self, indices: Iterable[int]) -> None:
        """These scored prompts are handed to the learner, as one step."""
        for index in indices:
            assert index in self._scored, f"prompt {index} is not scored, so it cannot be trained"
            self._scored.remove(index)
            self._trained += 1
            self._finish(index)
        self._since_train = self._next

    def drop(self, index: int, reason: str) -> None:
        """An issued prompt will not be trained."""
        assert index in self._issued_at, f"prompt {index} is not open, so it cannot be dropped"
        assert index not in self._scored, f"prompt {index} is ready to be trained, so it cannot be dropped"
        assert reason, "a prompt is dropped with a reason"
        self._dropped[reason] = self._dropped.get(reason, 0) + 1
        self._dropped_since_cut[index] = reason
        self._finish(index)

    def _finish(self, index: int) -> None:
        del self._issued_at[index]
        self._finished_above.add(index)
        while self._first_open in self._finished_above:
            self._finished_above.remove(self._first_open)
            self._first_open += 1
