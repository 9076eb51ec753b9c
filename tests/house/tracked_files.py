"""The files that git tracks, read once for all house rules."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def tracked(*patterns: str) -> list[Path]:
    """Tracked files that match any of git's path patterns, relative to the root; all files without a pattern."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # A file deleted but not yet committed is still listed.
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@cache
def text_of(path: Path) -> str:
    """A tracked file's text; empty if it is not text."""
    content = (ROOT / path).read_bytes()
    return "" if b"\0" in content else content.decode()
