"""Sees that a run moves on, whatever its processes do, and has a report written when it does not.

It only tells. What is done about a part that hangs follows from the deadline of whoever waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rlpost.telemetry.stall_report import Part, StallReporter
from rlpost.telemetry.waits import Progress, Waits

_LOOKS = 8
"""Looks within the time without progress after which a report is due."""
_LONGEST_LOOK_S = 5.0
_STOP_TIMEOUT_S = 5.0


class Watchdog:
    """Looks when it is told to. A stall is reported once, then each time it has lasted twice as long.

    A run whose steps simply take long is reported once: a stall that ends by itself teaches to wait twice as long.

    Args:
        waits: Says what moved the run on, and when.
        report_after_s: Time without progress.
        report: Writes a report under a headline.
        say: Tells a person.
    """

    def __init__(
        self, waits: Waits, *, report_after_s: float, report: Callable[[str], object], say: Callable[[str], None]
    ) -> None:
        self._waits, self._report, self._say = waits, report, say
        self._patience_s = self._due_after_s = report_after_s
        self._quiet_from_s = waits.clock()
        self._before_stall: Progress | None = None
        """The last progress before the stall that was reported; None while none was."""

    def look(self) -> None:
        """Report what is to be reported now."""
        now_s, progress = self._waits.clock(), self._waits.progress
        if any(wait.is_pause for wait in self._waits.open()):
            self._quiet_from_s = now_s
            return
        if self._before_stall is not None and progress is not self._before_stall:
            self._end_stall(progress, lasted_s=progress.at_s - self._before_stall.at_s)
        silence_s = now_s - max(progress.at_s, self._quiet_from_s)
        if silence_s >= self._due_after_s:
            self._before_stall = progress
            self._due_after_s = 2 * silence_s
            self._report(f"the run has made no progress for {silence_s:.0f} s")

    def _end_stall(self, progress: Progress, *, lasted_s: float) -> None:
        if progress.by_itself:
            self._patience_s = max(self._patience_s, 2 * lasted_s)
        self._before_stall, self._due_after_s = None, self._patience_s
        self._say(f"the run moves again after {lasted_s:.0f} s: {progress.what}")


@contextmanager
def watching(
    waits: Waits,
    *,
    report_after_s: float,
    folder: Path,
    look: Callable[[], Sequence[Part]],
    say: Callable[[str], None],
) -> Generator[None]:
    """A watchdog on a thread of its own, and reports of deadlines that pass, for the length of a with-block."""
    reporter = StallReporter(waits, folder=folder, look=look, say=say)
    watchdog = Watchdog(waits, report_after_s=report_after_s, report=reporter.report, say=say)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(min(_LONGEST_LOOK_S, report_after_s / _LOOKS)):
            watchdog.look()

    # A daemon, since a report under way must not hold up a run that was told to end.
    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    waits.note("the start")
    waits.on_overdue = reporter.report
    thread.start()
    try:
        yield
    finally:
        waits.on_overdue = None
        ended.set()
        thread.join(timeout=_STOP_TIMEOUT_S)
