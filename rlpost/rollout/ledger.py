"""Accounts for every prompt of a stage: it is issued, scored, and in the end trained or dropped, exactly once.

A prompt is identified by its index, which is its position in the order of issue. A run that is resumed from `state`
issues the open prompts again, and never the finished ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class LedgerCut(NamedTuple):
    """The ledger at one moment: the content of one line of the journal, and the matching state."""

    issued: int
    """The first index that was never issued, in all runs of the stage."""
    open: tuple[int, ...]
    """Indices below `issued` that are neither trained nor dropped, in order."""
    dropped: dict[int, str]
    """Index -> reason, for prompts dropped since the previous cut, in order."""
    state: dict[str, Any]
    """The state from which a resumed stage restores its ledger."""


class PromptLedger:
    """Keeps every issued index in exactly one state; an illegal transition is a bug and asserts. Not thread-safe.

    It stores the open indices, and the finished ones above the first open index: the buffer's capacity bounds both,
    whatever the length of the run.
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
        """Continue after `state`: its open indices are issued again, its finished ones never."""
        ledger = cls()
        ledger._first_open = ledger._next = state["first_open"]
        ledger._finished_above = set(state["finished_above"])
        ledger._since_train = state["since_train"]
        # Open prompts are issued again, but they count as issued all the same.
        ledger._issued = max(ledger._first_open, ledger._since_train, *(one + 1 for one in ledger._finished_above))
        ledger._trained = state["trained"]
        ledger._dropped = dict(state["dropped"])
        assert ledger._first_open not in ledger._finished_above, "the first open index is not finished"
        return ledger

    def state(self) -> dict[str, Any]:
        """Return plain data for a checkpoint; `since_train` has the meaning of the property of that name."""
        return {
            "first_open": self._first_open,
            "finished_above": sorted(self._finished_above),
            "since_train": self._since_train,
            "trained": self._trained,
            "dropped": dict(sorted(self._dropped.items())),
        }

    def cut(self) -> LedgerCut:
        """Return the current ledger; prompts dropped so far are in no later cut."""
        dropped, self._dropped_since_cut = dict(sorted(self._dropped_since_cut.items())), {}
        open_ones = (one for one in range(self._first_open, self._issued) if one not in self._finished_above)
        return LedgerCut(issued=self._issued, open=tuple(open_ones), dropped=dropped, state=self.state())

    @property
    def trained(self) -> int:
        """Number of prompts trained so far, in all runs of the stage."""
        return self._trained

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> number of prompts dropped for it so far, in all runs of the stage."""
        return dict(self._dropped)

    @property
    def since_train(self) -> int:
        """The first index that was not issued yet when prompts were last trained."""
        return self._since_train

    def missing(self) -> list[int]:
        """Return the indices that are issued and not scored yet, in order."""
        return sorted(self._issued_at.keys() - self._scored)

    def version_of(self, index: int) -> int:
        """Return the weight version at which an open index was issued."""
        return self._issued_at[index]

    def issue(self, *, version: int) -> int:
        """Issue the next index that was never finished, and return it."""
        index = self._next
        assert index not in self._issued_at, f"prompt {index} is open already"
        self._issued_at[index] = version
        self._next += 1
        self._issued = max(self._issued, self._next)
        while self._next in self._finished_above:
            self._next += 1
        return index

    def score(self, index: int) -> None:
        """Record that all samples of an issued prompt have verdicts."""
        assert index in self._issued_at, f"prompt {index} is not open, so it cannot be scored"
        assert index not in self._scored, f"prompt {index} was scored twice"
        self._scored.add(index)

    def train(self, indices: Iterable[int]) -> None:
        """Record that these scored prompts are handed to the learner, as one step."""
        for index in indices:
            assert index in self._scored, f"prompt {index} is not scored, so it cannot be trained"
            self._scored.remove(index)
            self._trained += 1
            self._finish(index)
        self._since_train = self._next

    def drop(self, index: int, reason: str) -> None:
        """Record that an issued prompt will not be trained."""
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
