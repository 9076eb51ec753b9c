"""Checkpoints inside a stage: written beside, published by rename, so that a half-written one is never chosen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlpost.interfaces import Learner

_KEEP = 2
_STATE_FILE = "stage.json"


class SavedStep(NamedTuple):
    """A complete checkpoint: the stage goes on with step `step`."""

    path: Path
    step: int
    state: dict[str, Any]
    """What the stage itself remembers, for example the next prompt's place in the order of issue."""


class StageCheckpoints:
    """The checkpoints of one stage, in `<stage>/checkpoints/step-<n>`."""

    def __init__(self, directory: Path, *, every: int, total_steps: int) -> None:
        self._directory = directory
        self._every, self._total_steps = every, total_steps

    def resume(self, learner: Learner) -> SavedStep | None:
        """Load the newest checkpoint into the learner, if there is one."""
        saved = self.latest()
        if saved is not None:
            learner.load_checkpoint(saved.path)
        return saved

    def latest(self) -> SavedStep | None:
        """The newest complete checkpoint."""
        if not self._directory.exists():
            return None
        steps = sorted(self._directory.glob("step-*"), reverse=True)
        complete = [path for path in steps if (path / _STATE_FILE).exists()]
        if not complete:
            return None
        record = json.loads((complete[0] / _STATE_FILE).read_text())
        return SavedStep(path=complete[0], step=record["step"], state=record["state"])

    def save_if_due(self, learner: Learner, *, step: int, state: Mapping[str, Any]) -> None:
        """Save after `step` steps when it is time; the stage's end is kept by its artifact instead."""
        if step % self._every == 0 and step < self._total_steps:
            self._save(learner, step=step, state=state)

    def _save(self, learner: Learner, *, step: int, state: Mapping[str, Any]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        beside = self._directory / f"writing-{step:08d}"
        if beside.exists():
            shutil.rmtree(beside)
        learner.save_checkpoint(beside)
        (beside / _STATE_FILE).write_text(json.dumps({"step": step, "state": dict(state)}))
        publish(beside, self._directory / f"step-{step:08d}")
        for old in sorted(self._directory.glob("step-*"), reverse=True)[_KEEP:]:
            shutil.rmtree(old)


def publish(beside: Path, final: Path) -> None:
    """Flush everything in `beside` to disk and give the directory its final name in one step."""
    for path in (*beside.rglob("*"), beside):
        if not path.is_symlink():
            _flush(path)
    if final.exists():
        shutil.rmtree(final)
    beside.rename(final)
    _flush(final.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
