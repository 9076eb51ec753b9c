"""Watches whether a run makes progress, whatever its processes do, and has a report written if it does not.

It only reports. A part that hangs is dealt with at the deadline of the wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rlpost.telemetry.stall_report import Part, StallReporter
from rlpost.telemetry.waits import Progress, Waits

_LOOKS = 8
"""Number of checks within the time without progress after which a report is due."""
_LONGEST_LOOK_S = 5.0
_STOP_TIMEOUT_S = 5.0


class Watchdog:
    """Checks for progress at each call of `look`. It reports a stall once, and again whenever its duration has doubled.

    A run with long steps is reported only once: after a stall that ends without a restart, the next report comes only
    after twice the duration of that stall.

    Args:
        waits: Knows the last progress of the run, and its time.
        report_after_s: Time without progress after which a report is due.
        report: Writes a report under a headline.
        say: Prints a line for the user.
    """

    def __init__(
        self, waits: Waits, *, report_after_s: float, report: Callable[[str], object], say: Callable[[str], None]
    ) -> None:
        self._waits, self._report, self._say = waits, report, say
        self._patience_s = self._due_after_s = report_after_s
        self._quiet_from_s = waits.clock()
        self._before_stall: Progress | None = None
        """The last progress before the reported stall; None if no stall is reported."""

    def look(self) -> None:
        """Report a stall if one is due, or that a reported stall has ended."""
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
    """Run a watchdog on its own thread, and report missed deadlines, during a with-block."""
    reporter = StallReporter(waits, folder=folder, look=look, say=say)
    watchdog = Watchdog(waits, report_after_s=report_after_s, report=reporter.report, say=say)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(min(_LONGEST_LOOK_S, report_after_s / _LOOKS)):
            watchdog.look()

    # A daemon thread, since a report in progress must not delay a run that was told to stop.
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
