"""Files with one record per line, and the removal of records when a run resumes from an earlier step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def keep_lines_while(path: Path, keeps: Callable[[bytes], bool]) -> None:
    """Truncate a file before the first line that is incomplete or that `keeps` rejects.

    The file is changed in place and read line by line, so a crash loses no kept line and a long file needs no memory.
    """
    kept = 0
    with path.open("r+b") as file:
        for text in file:
            if not text.endswith(b"\n") or not keeps(text):
                break
            kept += len(text)
        file.truncate(kept)


def is_before(text: bytes, step: int) -> bool:
    """Whether a line is the record of an earlier step; an unreadable line is not."""
    try:
        return bool(json.loads(text)["step"] < step)
    except (ValueError, TypeError, KeyError):
        return False
