"""The display of a run: progress bars on a terminal, plain lines in a job's log."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from rlpost.telemetry.account import PARTS
from rlpost.telemetry.plain_text import printable

_LINE_EVERY_S = 5.0
_LOG_WIDTH = 120
_WIDER_THAN_ANY_TABLE = 10_000
_SHOWN = ("loss", "reward", "accuracy", "response_tokens")


class StageProgress:
    """A progress bar, or without a terminal one line every few seconds."""

    def __init__(self, console: RichConsole, name: str, *, total: int, bar: Progress | None, done: int) -> None:
        self._console, self._name, self._total = console, name, total
        self._bar = bar
        self._task = bar.add_task(name, total=total, completed=done, shown="") if bar else None
        self._last_line = 0.0
        self._begun, self._done_before = time.monotonic(), done

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """Show that `done` of `total` steps are finished; the metrics are those of the last step."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, shown=describe(metrics))
        elif done == self._total or time.monotonic() - self._last_line > _LINE_EVERY_S:
            self._last_line = time.monotonic()
            shown = [describe(metrics), self._time_left(done)]
            line = " | ".join(part for part in shown if part)
            self._console.print(f"{self._name} {done}/{self._total} {line}", highlight=False, soft_wrap=True)

    def _time_left(self, done: int) -> str:
        """Return the time that the rest takes at the mean pace up to now; empty at both ends, and for a few seconds."""
        passed = done - self._done_before
        if passed <= 0 or done >= self._total:
            return ""
        seconds = (time.monotonic() - self._begun) / passed * (self._total - done)
        return f"{duration_words(seconds)} left" if seconds >= _LINE_EVERY_S else ""


class Console:
    """Writes to standard output; `hide` removes secrets from a line."""

    def __init__(self, hide: Callable[[str], str] = str) -> None:
        self._hide = hide
        plain = RichConsole()
        # A job's log has no width, and a table cut to 80 columns is hard to read.
        self._rich = plain if plain.is_terminal else RichConsole(width=_LOG_WIDTH)

    def say(self, text: str) -> None:
        """Print one line of plain text; markup in it is not interpreted."""
        self._rich.print(printable(self._hide(text)), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, name: str, *, total: int, done: int) -> Generator[StageProgress]:
        """Show the progress of a stage during a with-block."""
        if not self._rich.is_terminal:
            self._rich.print(f"{name} {done}/{total} begins", markup=False, highlight=False, soft_wrap=True)
            yield StageProgress(self._rich, name, total=total, bar=None, done=done)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            # The metrics take the width that is left; the columns before them are never cut.
            TextColumn("{task.fields[shown]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        )
        with Progress(*columns, console=self._rich, expand=True) as bar:
            yield StageProgress(self._rich, name, total=total, bar=bar, done=done)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table of text cells; where it does not fit without cutting words, one line for each cell."""
        table = Table(title=title, title_justify="left")
        for place, name in enumerate(header):
            table.add_column(name, justify="left" if place == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*map(printable, row))
        unbounded = self._rich.options.update(width=_WIDER_THAN_ANY_TABLE)
        if Measurement.get(self._rich, unbounded, table).minimum <= self._rich.width:
            self._rich.print(table)
            return
        self.say(title)
        for first, *cells in rows:
            self.say(f"  {header[0]} {first}")
            for name, cell in zip(header[1:], cells, strict=True):
                self.say(f"    {name} {cell}")


def duration_words(seconds: float) -> str:
    """Return a duration in the largest unit that tells it to about a tenth: `45 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def describe(metrics: Mapping[str, float]) -> str:
    """Format the few numbers that fit on a line: learning, step time, and the account of the time."""
    shown = [f"{name} {metrics[name]:.3g}" for name in _SHOWN if name in metrics]
    shown += [f"{name} {value:g}" for name, value in metrics.items() if name.startswith("faults/") and value]
    if metrics.get("staleness/max"):
        shown.append(f"staleness {metrics['staleness/mean']:.1f}")
    step_s = metrics.get("time/step_s")
    if step_s:
        shown.append(f"{step_s:.2f} s/step")
        shares = [(name, metrics.get(f"time/{name}_s", 0.0) / step_s) for name in (*PARTS, "other")]
        shown.append(", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005))
    return " | ".join(shown)
