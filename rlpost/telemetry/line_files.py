"""Files to which a run appends one record a line, and what is taken back when it goes on from an earlier step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def keep_lines_while(path: Path, keeps: Callable[[bytes], bool]) -> None:
    """Shorten a file to the lines before the first that is cut off, or that `keeps` refuses.

    In place and a line at a time: a crash in the middle loses no line that is kept, and a long file fills no memory.
    """
    kept = 0
    with path.open("r+b") as file:
        for text in file:
            if not text.endswith(b"\n") or not keeps(text):
                break
            kept += len(text)
        file.truncate(kept)


def is_before(text: bytes, step: int) -> bool:
    """Whether a line is the record of an earlier step; one that cannot be read is none."""
    try:
        return bool(json.loads(text)["step"] < step)
    except (ValueError, TypeError, KeyError):
        return False
