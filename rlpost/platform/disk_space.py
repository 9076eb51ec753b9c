"""Reports a write that fails for lack of space as a `StorageError`, whichever library noticed the failure."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rlpost.errors import RlpostError, StorageError

_SIGNS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    # torch's zip writer does not report the system's reason.
    "PytorchStreamWriter failed writing",
    "unexpected pos",
)


@contextmanager
def room_for(directory: Path) -> Generator[None]:
    """Wrap everything that writes into `directory`.

    Raises:
        StorageError: a write found no space left.
    """
    try:
        yield
    except RlpostError:
        raise
    except BaseException as error:  # torch's CheckpointException is not an Exception
        # safetensors, torch and Ray pass on the system's error number only as text.
        lines = "".join(traceback.format_exception(error))
        if not any(sign in lines for sign in _SIGNS):
            raise
        existing = next(folder for folder in (directory, *directory.absolute().parents) if folder.is_dir())
        raise StorageError(
            f"the disk must have room for what a run writes into {directory}; it is full, or its quota or file size "
            f"limit is reached ({shutil.disk_usage(existing).free >> 20} MiB are free; found: "
            f"{str(error).splitlines()[-1]}): free space, or set output to a folder elsewhere; in the same folder the "
            "same command goes on from the last complete checkpoint"
        ) from error
