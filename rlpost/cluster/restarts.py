"""How often a part of a run may die and come back. Knows nothing of Ray."""

from __future__ import annotations

from collections import deque

from rlpost.errors import ClusterError, UnavailableError

WINDOW_S = 600.0
"""Deaths further back than this are forgotten."""
LONGEST_PAUSE_S = 30.0


class RestartBudget:
    """At most `most` deaths within ten minutes; the pause before each restart doubles, from 1 s to 30 s.

    Args:
        role: Who dies, in the plural, for the message.
        most: Deaths that the run outlives; 0 ends it at the first one.
        setting: What to raise to outlive more.
    """

    def __init__(self, role: str, *, most: int, setting: str) -> None:
        self._role, self._most, self._setting = role, most, setting
        self._deaths_s: deque[float] = deque()
        self.total = 0
        """Deaths since the start of the run."""

    def pause_s(self, error: ClusterError, *, now_s: float) -> float:
        """How long to wait before the restart after this death.

        Raises:
            UnavailableError: there were too many.
        """
        self.total += 1
        self._deaths_s.append(now_s)
        while self._deaths_s[0] < now_s - WINDOW_S:
            self._deaths_s.popleft()
        count = len(self._deaths_s)
        if count > self._most:
            raise UnavailableError(
                f"{self._role} died {count} times within {WINDOW_S / 60:g} minutes, and at most {self._most} deaths "
                f"are made good ({self._setting}); the last: {error}"
            ) from error
        return min(LONGEST_PAUSE_S, 2.0 ** (count - 1))
