"""Checkpoints inside a stage: written beside, published by rename, so that a half-written one is never chosen.

Each lists its files with their sizes and checksums. One that no longer is what was written is passed over with a word,
and the one before it is chosen.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlpost.interfaces import Learner
from rlpost.stages.stopping import StopRequest
from rlpost.weight_file import checksum_of

_KEEP = 2
_STATE_FILE = "stage.json"
_LIST_FILE = "files.json"
"""Every other file: its size and its xxh3-128."""


class SavedStep(NamedTuple):
    """A complete checkpoint: the stage goes on with step `step`."""

    path: Path
    step: int
    state: dict[str, Any]
    """What the stage itself remembers, for example the next prompt's place in the order of issue."""


class StageCheckpoints:
    """The checkpoints of one stage, in `<stage>/checkpoints/step-<n>`; `say` tells of those that are damaged."""

    def __init__(
        self, directory: Path, *, every: int, total_steps: int, say: Callable[[str], None], stop: StopRequest
    ) -> None:
        self._directory = directory
        self._every, self._total_steps = every, total_steps
        self._say, self._stop = say, stop

    def resume(self, learner: Learner) -> SavedStep | None:
        """Load the newest checkpoint into the learner, if there is one."""
        saved = self.latest()
        if saved is not None:
            learner.load_checkpoint(saved.path)
        return saved

    def latest(self) -> SavedStep | None:
        """The newest checkpoint that is what was written."""
        for path in self._newest_first():
            damage = damage_of(path)
            if damage is None:
                return read_saved(path)
            self._say(f"checkpoint {path.name} is passed over: {damage}")
        return None

    def save_if_due(self, learner: Learner, *, step: int, state: Mapping[str, Any]) -> None:
        """Save after `step` steps when it is time; the stage's end is kept by its artifact instead.

        Raises:
            PreemptedError: the run was asked to stop; this step is saved.
        """
        if step >= self._total_steps:
            return
        if step % self._every == 0 or self._stop.requested:
            self._save(learner, step=step, state=state)
        self._stop.raise_if_requested(f"after step {step} of {self._total_steps}")

    def _save(self, learner: Learner, *, step: int, state: Mapping[str, Any]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        beside = self._directory / f"writing-{step:08d}"
        if beside.exists():
            shutil.rmtree(beside)
        learner.save_checkpoint(beside)
        (beside / _STATE_FILE).write_text(json.dumps({"step": step, "state": dict(state)}))
        (beside / _LIST_FILE).write_text(json.dumps(_listed(beside), indent=1))
        publish(beside, self._directory / f"step-{step:08d}")
        for old in self._newest_first()[_KEEP:]:
            shutil.rmtree(old)

    def _newest_first(self) -> list[Path]:
        return sorted(self._directory.glob("step-*"), reverse=True)


def read_saved(checkpoint: Path) -> SavedStep:
    """What a checkpoint says, whole or not."""
    record = json.loads((checkpoint / _STATE_FILE).read_text(encoding="utf-8"))
    return SavedStep(path=checkpoint, step=record["step"], state=record["state"])


def damage_of(checkpoint: Path) -> str | None:
    """What about a checkpoint is not as it was written; None where everything is. Sizes are compared first."""
    try:
        listed = json.loads((checkpoint / _LIST_FILE).read_text(encoding="utf-8"))
        files = {str(name): (entry["bytes"], entry["xxh3"]) for name, entry in listed.items()}
    except FileNotFoundError:
        return f"it has no {_LIST_FILE}"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its {_LIST_FILE} cannot be read ({type(error).__name__})"
    if _STATE_FILE not in files:
        return f"its {_LIST_FILE} does not name {_STATE_FILE}"
    for name, (size, _) in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, and {size} were written"
    altered = (name for name, (_, checksum) in files.items() if checksum_of(checkpoint / name) != checksum)
    first = next(altered, None)
    return None if first is None else f"the content of {first} is not what was written"


def _listed(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "xxh3": checksum_of(path)} for path in files}


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
