"""metrics.jsonl: one line per step, readable while the run is going on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from rlpost.telemetry.line_files import is_before, keep_lines_while


class JsonlTracker:
    """Appends the records of one stage. On resume, it first removes the records of steps that will run again."""

    def __init__(self, path: Path, *, first_step: int) -> None:
        self._path = path
        if path.exists():
            keep_lines_while(path, lambda text: is_before(text, first_step))
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `interfaces.Tracker`."""
        record = {"step": step, **{name: _plain(value) for name, value in metrics.items()}}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read all complete records; a last line that a crash cut off is skipped."""
    records: list[dict[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _plain(value: float) -> float:
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
