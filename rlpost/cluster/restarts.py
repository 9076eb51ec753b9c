"""Limits on how often a part of a run may die or hang and be restarted. Knows nothing of Ray."""

from __future__ import annotations

from collections import deque
from typing import Literal

from rlpost.errors import ClusterError, DeadlineError, LearnerLostError, RlpostError, UnavailableError

WINDOW_S = 600.0
"""Deaths longer ago than this no longer count."""
LONGEST_PAUSE_S = 30.0


class RestartBudget:
    """Allows at most `most` deaths within ten minutes; the pause before each restart doubles, from 1 s to 30 s.

    Args:
        what: The event, for the message: `learner ranks died`.
        most: Number of deaths that the run survives; with 0, the first death ends it.
        setting: Name of the setting that raises this number.
    """

    def __init__(self, what: str, *, most: int, setting: str) -> None:
        self._what, self._most, self._setting = what, most, setting
        self._deaths_s: deque[float] = deque()
        self.total = 0
        """Number of deaths since the start of the run."""

    def pause_s(self, error: RlpostError, *, now_s: float) -> float:
        """Return how long to wait before the restart after this death.

        Raises:
            UnavailableError: there were too many deaths.
        """
        self.total += 1
        self._deaths_s.append(now_s)
        while self._deaths_s[0] < now_s - WINDOW_S:
            self._deaths_s.popleft()
        count = len(self._deaths_s)
        if count > self._most:
            raise UnavailableError(
                f"{self._what} {count} times within {WINDOW_S / 60:g} minutes, and at most {self._most} of these "
                f"are made good ({self._setting}); the last: {_last_words(error)}"
            ) from error
        return min(LONGEST_PAUSE_S, 2.0 ** (count - 1))


class Setbacks:
    """Tracks whether a stage makes progress between two losses of its learner.

    A loss that recurs at the same step, however much time lies between, is no accident.

    Args:
        most: Number of consecutive losses allowed without an optimizer step beyond the furthest one before.
        on_hang: Whether hanging ranks are replaced; if they hang again without progress, the run ends.
    """

    def __init__(self, *, most: int, on_hang: Literal["restart", "stop"]) -> None:
        self._most, self._on_hang = most, on_hang
        self.begin()

    def begin(self) -> None:
        """Begin a stage for the first time."""
        self._furthest = 0
        self._in_a_row, self._lost_at = 0, -1
        self._hung_at = -1

    def reached(self, step: int) -> None:
        """Record that this optimizer step of the stage is finished."""
        self._furthest = max(self._furthest, step)

    def of_hang(self, overdue: DeadlineError) -> RlpostError:
        """Return the error to raise after the learner missed a deadline."""
        if self._on_hang == "stop":
            return overdue
        message = overdue.args[0]
        if self._hung_at == self._furthest:
            again = DeadlineError(f"the learner hung twice without getting beyond step {self._furthest}: {message}")
            again.report = overdue.report
            return again
        self._hung_at = self._furthest
        return LearnerLostError(message)

    def lost(self, error: LearnerLostError) -> None:
        """Record that the ranks are about to be restarted.

        Raises:
            ClusterError: restarting has not helped before.
        """
        self._in_a_row = self._in_a_row + 1 if self._lost_at == self._furthest else 1
        self._lost_at = self._furthest
        if self._in_a_row > self._most:
            raise ClusterError(
                f"learner ranks were lost {self._in_a_row} times in a row without getting beyond step "
                f"{self._furthest}, and at most {self._most} losses are made good (learner.max_restarts of the "
                f"cluster file); the last: {_last_words(error)}"
            ) from error


def _last_words(error: RlpostError) -> str:
    return str(error) if error.__cause__ is None else f"{error}: {error.__cause__}"
