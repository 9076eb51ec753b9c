"""Writes checkpoints in the background: their content is copied at once, and written to disk while training
continues.
"""

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
        """Copy `state`, then start to write it and `record` into `directory`. Wait for the previous save first."""
        self.finish(wait=True)
        if self._group is None:
            # A separate group keeps the background collectives from mixing with those of training.
            with rarely_waking():
                self._group = cast("dist.ProcessGroup", dist.new_group(backend="gloo"))
        done = async_save(state, storage_writer=_Writer(directory, record=record), process_group=self._group)
        self._writing = _Writing(directory, cast("futures.Future[Metadata]", done))

    def finish(self, *, wait: bool) -> bool:
        """Return whether all ranks have finished the current save; True if there is none.

        Raises:
            StorageError: a write found no space left; every rank raises it.
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
                # CheckpointException is not an Exception, so it would end the process of a rank without a message.
                raise RuntimeError(f"writing a checkpoint into {directory} failed: {error}") from error
        return True

    def close(self) -> None:
        """Wait until the current save ends, and ignore its outcome, because nobody has asked `finish` for it."""
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
    """Writes the learner's record as part of the save, where a failure of rank 0 reaches the other ranks."""

    def __init__(self, directory: Path, *, record: str) -> None:
        # The state is already on the CPU; copying ahead would only waste memory of the first device.
        super().__init__(directory, per_thread_copy_ahead=0)
        self._directory, self._record = directory, record

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of `state_dict`, whose content changes while the copy is written."""
        return _copied(state_dict)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the record, on rank 0, after every rank has written its part."""
        super().finish(metadata, results)
        (self._directory / STEP_FILE).write_text(self._record)


def _copied(state: Any) -> Any:
    """Copy all tensors to CPU memory; torch's own function allocates and fills each of them twice."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: _copied(value) for name, value in cast("dict[Any, Any]", state).items()}
    if isinstance(state, list):
        return [_copied(value) for value in cast("list[Any]", state)]
    return state
