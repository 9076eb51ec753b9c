"""How far a run has come, as its folder tells from outside the run."""

from __future__ import annotations

from pathlib import Path

from rlpost.pipeline.artifacts import MANIFEST

Marks = frozenset[tuple[str, int]]
"""Path and time of writing of each finished stage and of each checkpoint of a stage under way."""


def marks(run: Path) -> Marks:
    """What is there now; one that was not there before is progress. Empty where no run can be seen."""
    finished = (file for file in run.glob(f"stages/*/{MANIFEST}") if not file.parent.name.endswith(".partial"))
    found: set[tuple[str, int]] = set()
    for path in (*finished, *run.glob("stages/*.partial/checkpoints/step-*")):
        try:
            found.add((str(path.relative_to(run)), path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue  # It has just made room for a newer one.
    return frozenset(found)
