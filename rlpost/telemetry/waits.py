"""The open waits of a process (who waits for whom, since when, until when), and its last progress."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from rlpost.errors import DeadlineError

Result = TypeVar("Result")
MAIN = "driver"
"""Owner name of a wait of the main thread; any other thread's owner name is its thread name."""


class Progress(NamedTuple):
    """An event by which the run made progress. Example: `Progress("responses", at_s=812.5, by_itself=True)`."""

    what: str
    at_s: float
    """Time on the registry's clock."""
    by_itself: bool
    """False if a part had to be replaced; the run was then stuck, and not merely slow."""


class Wait:
    """One wait, listed in its registry during a with-block."""

    __slots__ = ("_registry", "awaited", "deadline_s", "is_pause", "owner", "since_s")

    def __init__(self, registry: Waits, awaited: str, *, since_s: float, deadline_s: float, is_pause: bool) -> None:
        self._registry, self.awaited = registry, awaited
        self.since_s, self.deadline_s, self.is_pause = since_s, deadline_s, is_pause
        thread = threading.current_thread()
        self.owner = MAIN if thread is threading.main_thread() else thread.name

    def extend(self, timeout_s: float) -> None:
        """Restart the deadline from now, because the awaited part has made progress."""
        self.deadline_s = self._registry.clock() + timeout_s

    def __enter__(self) -> Wait:
        self._registry.add(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # The report is written before the wait is removed, so that it shows the wait that took too long.
        try:
            if isinstance(error, DeadlineError) and error.report is None:
                error.report = self._registry.report(str(error))
        finally:
            self._registry.remove(self)


class Waits:
    """The registry of waits. Thread-safe, and cheap, because every wait of the driver uses it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.progress = Progress("the start", clock(), by_itself=True)
        """The last progress of the run."""
        self.on_overdue: Callable[[str], str | None] | None = None
        """Writes a stall report under the given headline and returns its path; None while there is no watchdog."""
        self._lock = threading.Lock()
        self._open: set[Wait] = set()

    def until(self, awaited: str, *, timeout_s: float = math.inf, since_s: float | None = None) -> Wait:
        """Open a wait for `awaited`; a `DeadlineError` that leaves its with-block gets a stall report.

        Args:
            awaited: The awaited process or event.
            timeout_s: Deadline, counted from `since_s`; none if the wait ends with another wait that has one.
            since_s: Start on the registry's clock; for a wait in many short turns, the start of the first turn.
        """
        since_s = self.clock() if since_s is None else since_s
        return Wait(self, awaited, since_s=since_s, deadline_s=since_s + timeout_s, is_pause=False)

    def pause(self, awaited: str, *, timeout_s: float) -> Wait:
        """Open a wait that was announced to the user; until it ends, nothing counts as a stall."""
        now_s = self.clock()
        return Wait(self, awaited, since_s=now_s, deadline_s=now_s + timeout_s, is_pause=True)

    def note(self, what: str, *, by_itself: bool = True) -> None:
        """Record that the run has made progress."""
        self.progress = Progress(what, self.clock(), by_itself)

    def open(self) -> list[Wait]:
        """Return all open waits, the longest first."""
        with self._lock:
            found = list(self._open)
        return sorted(found, key=lambda wait: wait.since_s)

    def report(self, headline: str) -> str | None:
        """Write a stall report now and return its path; None if there is no watchdog or the report could not be
        written.
        """
        return None if self.on_overdue is None else self.on_overdue(headline)

    def add(self, wait: Wait) -> None:
        """Add a wait; only `Wait` calls this."""
        with self._lock:
            self._open.add(wait)

    def remove(self, wait: Wait) -> None:
        """Remove a wait; only `Wait` calls this."""
        with self._lock:
            self._open.discard(wait)


WAITS = Waits()
"""The registry of this process."""


def result_of(future: Future[Result], awaited: str, *, timeout_s: float) -> Result:
    """Wait for the result of another thread.

    Raises:
        DeadlineError: the result is not there in time. Exceptions of that thread are raised unchanged.
    """
    with WAITS.until(awaited, timeout_s=timeout_s):
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            if future.done():  # It finished at the last moment, or the result itself raises a timeout.
                return future.result()
            raise DeadlineError(
                f"{awaited} must be there within {timeout_s:g} s and did not come: look at the stall report, or raise "
                "step_timeout_s in the cluster file"
            ) from error
