"""The report about a run that makes no progress: all waits, the state of each process, and all stacks."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rlpost.telemetry.stacks import own_stacks
from rlpost.telemetry.waits import Progress, Wait, Waits


class Part(NamedTuple):
    """The current state of a process of the run other than the driver."""

    name: str
    state: str
    """The state in one line."""
    stacks: str
    """Stacks of its threads, or the reason why there are none."""


class StallReporter:
    """Writes a report into `folder` and prints a short form. Thread-safe; one report is made at a time.

    Args:
        waits: The registry of waits to report.
        folder: Created with the first report.
        look: Returns the other processes of the run; may take half a minute.
        say: Prints a line for the user.
    """

    def __init__(
        self, waits: Waits, *, folder: Path, look: Callable[[], Sequence[Part]], say: Callable[[str], None]
    ) -> None:
        self._waits, self._folder, self._look, self._say = waits, folder, look, say
        self._one_at_a_time = threading.Lock()

    def report(self, headline: str) -> str | None:
        """Write a report and return its path; print an error and return None if it cannot be written."""
        with self._one_at_a_time:
            now_s, now = self._waits.clock(), datetime.now(UTC)
            waits = [wait_in_words(wait, now_s=now_s, now=now) for wait in self._waits.open()]
            last = progress_in_words(self._waits.progress, now_s=now_s, now=now)
            path = self._folder / f"{now:%Y%m%dT%H%M%S.%f}Z.txt"
            try:
                text = report_text(headline, now=now, waits=waits, last=last, parts=self._look())
                self._folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                where = f"report with all stacks: {path}"
            except OSError as error:
                path, where = None, f"the report could not be written: {error}"
            self._say("\n".join([headline, *(f"  {line}" for line in [*waits, last, where])]))
        return None if path is None else str(path)


def report_text(headline: str, *, now: datetime, waits: Sequence[str], last: str, parts: Sequence[Part]) -> str:
    """Format the whole report."""
    sections = [
        f"Stall report of {now:%Y-%m-%d %H:%M:%S} UTC\n{headline}\n{last}",
        "\n".join(["Waits of the driver, the longest first", *(f"  {line}" for line in waits or ["none"])]),
        "\n".join(["Parts", *(f"  {part.name}: {part.state}" for part in parts)]),
        f"Stacks, the innermost call first\n\ndriver\n{own_stacks()}",
        *(f"{part.name}\n{part.stacks}" for part in parts),
    ]
    return "\n\n".join(sections) + "\n"


def wait_in_words(wait: Wait, *, now_s: float, now: datetime) -> str:
    """Format a wait as `collector waits for responses of the engines: for 121 s, since 10:13:01, until 10:41:01
    UTC`.
    """
    until = "without a deadline of its own"
    if wait.deadline_s < math.inf:
        until = f"until {_at(wait.deadline_s, now_s=now_s, now=now)} UTC"
    since = _at(wait.since_s, now_s=now_s, now=now)
    return f"{wait.owner} waits for {wait.awaited}: for {now_s - wait.since_s:.0f} s, since {since}, {until}"


def progress_in_words(progress: Progress, *, now_s: float, now: datetime) -> str:
    """Format progress as `last progress: responses, 121 s ago, at 10:13:01 UTC`."""
    at = _at(progress.at_s, now_s=now_s, now=now)
    return f"last progress: {progress.what}, {now_s - progress.at_s:.0f} s ago, at {at} UTC"


def _at(moment_s: float, *, now_s: float, now: datetime) -> str:
    return f"{now + timedelta(seconds=moment_s - now_s):%H:%M:%S}"
