"""Checkpoints inside a stage: written under a temporary name and renamed, so that an incomplete one is never chosen.

The learner writes in the background. A thread then lists the written files with sizes and checksums, flushes and
renames them. There is at most one save in progress. A checkpoint that differs from what was written is skipped with a
message, and the previous one is chosen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

from rlpost.interfaces import Learner
from rlpost.stages.checkpoint_files import STATE_FILE, damage_of, left_behind, publish, remove, write_list
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.waits import WAITS

_WRITING = "writing-"


class SavedStep(NamedTuple):
    """A complete checkpoint, from which the stage continues with step `step`."""

    path: Path
    step: int
    state: dict[str, Any]
    """The stage's own state, for example the position of the next prompt in the order of issue."""


class _Begun(NamedTuple):
    """The save that the learner is writing."""

    step: int
    path: Path
    state_file: str
    """Content of the state file as of that step, whatever the stage does in the meantime."""


class StageCheckpoints:
    """The checkpoints of one stage, in `<stage>/checkpoints/step-<n>`; `say` reports damaged ones.

    Use it as a context around the stage's loop, so that no save is in progress when the stage is started again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        every: int,
        keep: int,
        total_steps: int,
        say: Callable[[str], None],
        stop: StopRequest,
    ) -> None:
        self._directory = directory
        self._every, self._keep, self._total_steps = every, keep, total_steps
        self._say, self._stop = say, stop
        self._damaged: set[Path] = set()
        self._begun: _Begun | None = None
        self._publishing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for a checkpoint that is being published; a save that the learner is still writing is never
        published.
        """
        # Ctrl-C does not wait, because only this last checkpoint is lost.
        if self._publishing is not None and isinstance(error, Exception):
            failure = self._publishing.exception()
            if failure is not None:
                self._say(f"the last checkpoint could not be published: {failure}")

    def resume(self, learner: Learner) -> SavedStep | None:
        """Load the newest checkpoint into the learner, if there is one."""
        saved = self.latest()
        if saved is not None:
            learner.load_checkpoint(saved.path)
        return saved

    def latest(self) -> SavedStep | None:
        """Return the newest undamaged checkpoint."""
        for path in self._newest_first():
            damage = damage_of(path)
            if damage is None:
                return read_saved(path)
            self._damaged.add(path)
            self._say(f"checkpoint {path.name} is passed over: {damage}")
        return None

    def save_if_due(self, learner: Learner, *, step: int, state: Mapping[str, Any]) -> None:
        """After `step` steps, publish a finished save, and begin a new one if it is due.

        The stage's end is kept by its artifact instead; when this returns for the last step, no save is in progress.

        Raises:
            PreemptedError: the run was asked to stop, and this step is saved.
        """
        ended = step >= self._total_steps
        stopping = self._stop.requested and not ended
        due = stopping or (step % self._every == 0 and not ended)
        self._carry_on(learner, wait=due or ended)
        if due:
            self._begin(learner, step=step, state=state)
        if stopping:
            self._carry_on(learner, wait=True)
            self._stop.raise_if_requested(f"after step {step} of {self._total_steps}")

    def _begin(self, learner: Learner, *, step: int, state: Mapping[str, Any]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        for left in (*self._directory.glob(f"{_WRITING}*"), *left_behind(self._directory)):
            shutil.rmtree(left)
        begun = _Begun(
            step=step,
            path=self._directory / f"{_WRITING}{step:08d}",
            state_file=json.dumps({"step": step, "state": dict(state)}),
        )
        learner.save_checkpoint(begun.path)
        self._begun = begun

    def _carry_on(self, learner: Learner, *, wait: bool) -> None:
        """Advance a save as far as it has come; with `wait`, to its end."""
        if self._begun is not None and learner.finish_checkpoint(wait=wait):
            self._publishing = _in_background(partial(self._publish, self._begun))
            self._begun = None
        if self._publishing is not None and (wait or self._publishing.done()):
            publishing, self._publishing = self._publishing, None
            publishing.result()

    def _publish(self, begun: _Begun) -> None:
        """Publish on a thread, because checksums and flushes of a large checkpoint take longer than a step."""
        (begun.path / STATE_FILE).write_text(begun.state_file)
        write_list(begun.path)
        final = self._directory / f"step-{begun.step:08d}"
        publish(begun.path, final)
        WAITS.note(f"{final.name} was published")
        self._damaged.discard(final)
        for damaged in self._damaged:
            remove(damaged)
        self._damaged.clear()
        for old in reversed(self._newest_first()[self._keep :]):
            remove(old)

    def _newest_first(self) -> list[Path]:
        return sorted(self._directory.glob("step-*"), reverse=True)


def read_saved(checkpoint: Path) -> SavedStep:
    """Read the state of a checkpoint, damaged or not."""
    record = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    return SavedStep(path=checkpoint, step=record["step"], state=record["state"])


def _in_background(work: Callable[[], None]) -> Future[None]:
    """Run this on a thread that does not delay the end of the process."""
    result: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            result.set_exception(error)
        else:
            result.set_result(None)

    Thread(target=run, name="publish checkpoint", daemon=True).start()
    return result
