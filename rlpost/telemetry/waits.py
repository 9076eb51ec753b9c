"""Who waits for whom, since when and until when; and what moved the run on last. Each process knows its own."""

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
"""What the main thread is called as an owner; every other thread has its own name."""


class Progress(NamedTuple):
    """Something that moved the run on. Example: `Progress("responses", at_s=812.5, by_itself=True)`."""

    what: str
    at_s: float
    """On the registry's clock."""
    by_itself: bool
    """False where a part was replaced: what went before was no mere slowness."""


class Wait:
    """One wait, entered in its registry for the length of a with-block."""

    __slots__ = ("_registry", "awaited", "deadline_s", "is_pause", "owner", "since_s")

    def __init__(self, registry: Waits, awaited: str, *, since_s: float, deadline_s: float, is_pause: bool) -> None:
        self._registry, self.awaited = registry, awaited
        self.since_s, self.deadline_s, self.is_pause = since_s, deadline_s, is_pause
        thread = threading.current_thread()
        self.owner = MAIN if thread is threading.main_thread() else thread.name

    def extend(self, timeout_s: float) -> None:
        """What is waited for has shown progress: the deadline is that long from now."""
        self.deadline_s = self._registry.clock() + timeout_s

    def __enter__(self) -> Wait:
        self._registry.add(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Before the entry goes, so that the report shows the wait that took too long.
        try:
            if isinstance(error, DeadlineError) and error.report is None:
                error.report = self._registry.report(str(error))
        finally:
            self._registry.remove(self)


class Waits:
    """The registry. Safe for several threads, and cheap: it is used wherever the driver waits."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.progress = Progress("the start", clock(), by_itself=True)
        """What moved the run on last."""
        self.on_overdue: Callable[[str], str | None] | None = None
        """Writes a stall report under the given headline and returns where it is; None while nobody watches."""
        self._lock = threading.Lock()
        self._open: set[Wait] = set()

    def until(self, awaited: str, *, timeout_s: float = math.inf, since_s: float | None = None) -> Wait:
        """A wait for `awaited`; a `DeadlineError` that leaves its with-block gets a stall report.

        Args:
            awaited: Whom or what this thread waits for.
            timeout_s: After `since_s`; none where the wait ends with another one that has a deadline.
            since_s: On the registry's clock; a wait in many short turns began with the first of them.
        """
        since_s = self.clock() if since_s is None else since_s
        return Wait(self, awaited, since_s=since_s, deadline_s=since_s + timeout_s, is_pause=False)

    def pause(self, awaited: str, *, timeout_s: float) -> Wait:
        """A wait that somebody was told of already: while it lasts, nothing counts as a stall."""
        now_s = self.clock()
        return Wait(self, awaited, since_s=now_s, deadline_s=now_s + timeout_s, is_pause=True)

    def note(self, what: str, *, by_itself: bool = True) -> None:
        """The run has moved on."""
        self.progress = Progress(what, self.clock(), by_itself)

    def open(self) -> list[Wait]:
        """All waits that are under way, the longest first."""
        with self._lock:
            found = list(self._open)
        return sorted(found, key=lambda wait: wait.since_s)

    def report(self, headline: str) -> str | None:
        """Have a stall report written now; returns where it is, None if nobody watches or it could not be written."""
        return None if self.on_overdue is None else self.on_overdue(headline)

    def add(self, wait: Wait) -> None:
        """Enter it; `Wait` does."""
        with self._lock:
            self._open.add(wait)

    def remove(self, wait: Wait) -> None:
        """Take it out; `Wait` does."""
        with self._lock:
            self._open.discard(wait)


WAITS = Waits()
"""Of this process."""


def result_of(future: Future[Result], awaited: str, *, timeout_s: float) -> Result:
    """What another thread is working on.

    Raises:
        DeadlineError: it is not there in time. And whatever that thread raised.
    """
    with WAITS.until(awaited, timeout_s=timeout_s):
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            if future.done():  # In the last moment, or what it raises is a timeout of its own.
                return future.result()
            raise DeadlineError(
                f"{awaited} must be there within {timeout_s:g} s and did not come: look at the stall report, or raise "
                "step_timeout_s in the cluster file"
            ) from error
