"""Log-probabilities of a stage's rows under its start, computed once, before training, and kept on disk.

They lie in the stage's folder, which belongs to one start and one set of rows: a stage that resumes finds them again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlpost.interfaces import POLICY, Learner
from rlpost.records import FloatArray
from rlpost.telemetry.console import Console
from rlpost.train_records import TrainBatch, TrainRow

COLUMN = "reference_logprobs_T"
_ROWS_PER_CALL = 1024


class ReferenceLogprobs:
    """The log-probabilities of `count` rows, by number, without holding them in memory."""

    def __init__(self, directory: Path) -> None:
        self._starts: NDArray[np.int64] = np.load(directory / "starts.npy", mmap_mode="r", allow_pickle=False)
        self._values: FloatArray = np.memmap(directory / "logprobs.bin", np.float32, mode="r")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._starts) - 1

    def with_column(self, row: TrainRow, number: int) -> TrainRow:
        """Return row `number` with its column `reference_logprobs_T`."""
        values_T = np.array(self._values[int(self._starts[number]) : int(self._starts[number + 1])])
        return replace(row, columns={**row.columns, COLUMN: values_T})


def reference_logprobs(
    directory: Path,
    learner: Learner,
    *,
    name: str,
    count: int,
    batch_of: Callable[[range], TrainBatch],
    console: Console,
) -> ReferenceLogprobs:
    """Return what the learner's policy gives to the rows now; it must still hold the start, if they are not on disk.

    Args:
        directory: The stage's folder.
        learner: Computes them.
        name: What the rows are, for the folder's name and for people, for example `pairs`.
        count: Number of rows.
        batch_of: Makes the batch of some rows, by number, in order.
        console: Shows the progress.
    """
    place = directory / f"reference-{name}"
    if not place.exists():
        started = time.perf_counter()
        writing = directory / f"writing-reference-{name}"
        writing.mkdir(exist_ok=True)
        starts = [np.zeros(1, np.int64)]
        with (
            (writing / "logprobs.bin").open("wb") as file,
            console.progress(f"reference of {name}", total=count, done=0) as progress,
        ):
            for start in range(0, count, _ROWS_PER_CALL):
                numbers = range(start, min(start + _ROWS_PER_CALL, count))
                batch = batch_of(numbers)
                file.write(learner.logprobs(batch, of=POLICY).astype(np.float32, copy=False).tobytes())
                starts.append(starts[-1][-1] + np.cumsum(batch.row_lengths_B, dtype=np.int64))
                progress.step(numbers.stop, {})
        np.save(writing / "starts.npy", np.concatenate(starts), allow_pickle=False)
        writing.rename(place)
        seconds = time.perf_counter() - started
        console.say(f"log-probabilities of {count:,} rows ({name}) under the start, in {seconds:.1f} s")
    found = ReferenceLogprobs(place)
    assert len(found) == count, f"{place} must hold {count} rows, found {len(found)}"
    return found
