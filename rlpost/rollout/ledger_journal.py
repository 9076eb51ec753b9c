"""ledger.jsonl: the outcome of every prompt of a stage, one line per step, so that the file alone can prove it.

{"step": 3, "trained": [[12, "sums/7", 4, 2], ...], "dropped": [[13, "no signal"], ...], "issued": 18}

trained: the groups handed to the learner in this step: index, prompt, samples, oldest weights of any token
dropped: the prompts dropped since the line before: index and reason
issued: the first index that was never issued

The last line of a stage that ended also has `ended`: index and reason of each prompt that was still open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import TypeAdapter, ValidationError

from rlpost.records import RolloutGroup
from rlpost.rollout.ledger import LedgerCut
from rlpost.telemetry.line_files import keep_lines_while

FILE_NAME = "ledger.jsonl"
STAGE_ENDED = "stage ended"
"""The reason why a prompt that was open at the end is not trained."""


class TrainedGroup(NamedTuple):
    """One group as it was handed to the learner; `place` is the prompt's index, its position in the order of issue."""

    place: int
    prompt: str
    samples: int
    oldest_version: int


class UntrainedPrompt(NamedTuple):
    """One prompt that will not be trained; `place` is its index."""

    place: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalLine:
    """One line of the file."""

    step: int
    trained: tuple[TrainedGroup, ...]
    dropped: tuple[UntrainedPrompt, ...]
    issued: int
    ended: tuple[UntrainedPrompt, ...] | None = None
    """Set only in the last line, whose `step` is the number of steps."""

    def text(self) -> str:
        """Format the line as in the file, without the newline."""
        record = {"step": self.step, "trained": self.trained, "dropped": self.dropped, "issued": self.issued}
        return json.dumps(record if self.ended is None else {**record, "ended": self.ended})


class Journal(NamedTuple):
    """The content of a file."""

    lines: list[JournalLine]
    unreadable: list[str]
    """Place and reason, one sentence for each complete line that cannot be read."""
    is_cut_off: bool
    """Whether the last line has no newline, because it was being written."""


_LINE = TypeAdapter(JournalLine)


class LedgerJournal:
    """Appends a line per step, which is on disk before the call returns. Lines of steps that run again are removed
    first.
    """

    def __init__(self, directory: Path, *, first_step: int) -> None:
        path = directory / FILE_NAME
        if path.exists():
            keep_lines_while(path, lambda text: not _is_of_step(text, first_step))
        self._file: IO[str] = path.open("a", encoding="utf-8")
        self._next_step = first_step

    def write(self, step: int, groups: Sequence[RolloutGroup], cut: LedgerCut) -> None:
        """Write the groups of one step, and the ledger as of the time when they were taken."""
        self._append(step_line(step, groups, cut))
        self._next_step = step + 1

    def end(self, cut: LedgerCut) -> None:
        """Write the last line: all steps are taken, and nothing more will be issued."""
        self._append(end_line(self._next_step, cut))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, line: JournalLine) -> None:
        self._file.write(line.text() + "\n")
        self._file.flush()
        # Checkpoints are flushed to disk, and must not survive a crash that loses the lines before them.
        os.fsync(self._file.fileno())


def step_line(step: int, groups: Sequence[RolloutGroup], cut: LedgerCut) -> JournalLine:
    """Make the line of one step."""
    trained = (
        TrainedGroup(group.index, group.prompt.id, len(group.episodes), group.oldest_version) for group in groups
    )
    return JournalLine(step=step, trained=tuple(trained), dropped=_dropped(cut), issued=cut.issued)


def end_line(steps: int, cut: LedgerCut) -> JournalLine:
    """Make the line that follows the last step's line."""
    ended = tuple(UntrainedPrompt(index, STAGE_ENDED) for index in cut.open)
    return JournalLine(step=steps, trained=(), dropped=_dropped(cut), issued=cut.issued, ended=ended)


def read_journal(path: Path) -> Journal:
    """Read everything in a file, even while it is being written."""
    whole, _, rest = path.read_bytes().rpartition(b"\n")
    lines: list[JournalLine] = []
    unreadable: list[str] = []
    for number, text in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            lines.append(_LINE.validate_json(text, strict=True))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            unreadable.append(f"line {number}: {place + ': ' if place else ''}{first['msg']}")
    return Journal(lines=lines, unreadable=unreadable, is_cut_off=bool(rest))


def _dropped(cut: LedgerCut) -> tuple[UntrainedPrompt, ...]:
    return tuple(UntrainedPrompt(index, reason) for index, reason in cut.dropped.items())


def _is_of_step(text: bytes, first_step: int) -> bool:
    """Whether a line belongs to this step or a later one. Unreadable lines stay, so that `read_journal` reports
    them.
    """
    try:
        return _LINE.validate_json(text, strict=True).step >= first_step
    except ValidationError:
        return False
