"""Checkpoints that are written while the learner goes on: their content is copied at once, their files come later."""

from __future__ import annotations

from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.storage import WriteResult

from rlpost.platform.disk_space import room_for
from rlpost.platform.idle_threads import rarely_waking

STEP_FILE = "learner.json"


class BackgroundSave:
    """The saves of one learner, one at a time. Every rank calls the same methods in the same order."""

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None
        self._writing: _Writing | None = None

    def begin(self, directory: Path, state: dict[str, Any], *, record: str) -> None:
        """Copy `state`, and start writing it into `directory`, with `record` beside it. Waits for the save before."""
        self.finish(wait=True)
        if self._group is None:
            # Of its own, so that what ranks agree on in the background never falls between collectives of training.
            with rarely_waking():
                self._group = cast("dist.ProcessGroup", dist.new_group(backend="gloo"))
        done = async_save(state, storage_writer=_Writer(directory, record=record), process_group=self._group)
        self._writing = _Writing(directory, cast("futures.Future[Metadata]", done))

    def finish(self, *, wait: bool) -> bool:
        """Whether all ranks have written what was begun; True where nothing was.

        Raises:
            StorageError: a write found no room; every rank raises it.
        """
        if self._writing is None:
            return True
        directory, done = self._writing
        if not wait and not done.done():
            return False
        self._writing = None
        with room_for(directory):
            try:
                done.result()
            except CheckpointException as error:
                # It is no Exception, and would end the process of a rank without a word.
                raise RuntimeError(f"writing a checkpoint into {directory} failed: {error}") from error
        return True

    def close(self) -> None:
        """Let a save under way end. How it ends is of no use to whoever has not asked `finish`."""
        if self._writing is not None:
            futures.wait([self._writing.done])
            self._writing = None
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None


class _Writing(NamedTuple):
    directory: Path
    done: futures.Future[Metadata]


class _Writer(FileSystemWriter):
    """Writes the learner's own record, too, and where a failure of rank 0 reaches the others."""

    def __init__(self, directory: Path, *, record: str) -> None:
        # Nothing is left on a device to copy ahead; a thread that tried would take memory of the first one.
        super().__init__(directory, per_thread_copy_ahead=0)
        self._directory, self._record = directory, record

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """What is written instead of `state_dict`, which changes meanwhile."""
        return _copied(state_dict)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """On rank 0, when every rank has written its part."""
        super().finish(metadata, results)
        (self._directory / STEP_FILE).write_text(self._record)


def _copied(state: Any) -> Any:
    """All tensors anew, in the machine's memory; torch's own way allocates and fills each of them twice."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: _copied(value) for name, value in cast("dict[Any, Any]", state).items()}
    if isinstance(state, list):
        return [_copied(value) for value in cast("list[Any]", state)]
    return state
