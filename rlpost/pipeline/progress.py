"""The progress of a run, as seen in its folder from outside the run."""

from __future__ import annotations

from pathlib import Path

from rlpost.pipeline.artifacts import MANIFEST

Marks = frozenset[tuple[str, int]]
"""Path and modification time of each finished stage, and of each checkpoint of an unfinished stage."""


def marks(run: Path) -> Marks:
    """Return the current marks; a new mark means progress. Empty if there is no run to be seen."""
    finished = (file for file in run.glob(f"stages/*/{MANIFEST}") if not file.parent.name.endswith(".partial"))
    found: set[tuple[str, int]] = set()
    for path in (*finished, *run.glob("stages/*.partial/checkpoints/step-*")):
        try:
            found.add((str(path.relative_to(run)), path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue  # It was just deleted in favour of a newer one.
    return frozenset(found)
