"""The stored form of tokenised rows: flat arrays on disk, memory-mapped when they are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlpost.data.token_files.chunk import Chunk
from rlpost.records import FloatArray, IntArray

_FLAT = ("token_ids", "trained")
"""Arrays with a value for each token, stored as they are in memory."""


class StoredSequence(NamedTuple):
    """One sequence of a token file; the arrays are copies."""

    token_ids: IntArray
    weights_T: FloatArray
    """1 on trained tokens, 0 elsewhere."""
    prompt_length: int


class TokenFile:
    """The sequences of a data set, by number, without holding them in memory."""

    def __init__(self, directory: Path) -> None:
        self.lengths: NDArray[np.int64] = _mapped(directory / "lengths.npy")
        self.prompt_lengths: NDArray[np.int64] = _mapped(directory / "prompt_lengths.npy")
        self.questions: NDArray[np.uint64] = _mapped(directory / "questions.npy")
        self.differ: NDArray[np.bool_] = _mapped(directory / "differ.npy")
        self.targets: NDArray[np.float32] = _mapped(directory / "targets.npy")
        self._starts: NDArray[np.int64] = _mapped(directory / "starts.npy")
        self._token_ids, self._trained = (_flat(directory, name) for name in _FLAT)

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.lengths)

    def sequence(self, number: int) -> StoredSequence:
        """Return one sequence."""
        start, length = int(self._starts[number]), int(self.lengths[number])
        span = slice(start, start + length)
        return StoredSequence(
            np.array(self._token_ids[span]),
            self._trained[span].astype(np.float32),
            int(self.prompt_lengths[number]),
        )


def write_token_file(directory: Path, chunks: Iterable[Chunk]) -> None:
    """Write chunks, in order, as one token file; only one chunk is in memory at a time."""
    small: dict[str, list[NDArray[Any]]] = {name: [] for name in Chunk._fields if name not in _FLAT}
    with (directory / "token_ids.bin").open("wb") as token_ids, (directory / "trained.bin").open("wb") as trained:
        for chunk in chunks:
            token_ids.write(chunk.token_ids.tobytes())
            trained.write(chunk.trained.tobytes())
            for name, parts in small.items():
                parts.append(getattr(chunk, name))
    arrays = {name: np.concatenate(parts) for name, parts in small.items()}
    arrays["starts"] = np.concatenate([np.zeros(1, np.int64), np.cumsum(arrays["lengths"])[:-1]])
    for name, values in arrays.items():
        np.save(directory / f"{name}.npy", values, allow_pickle=False)


def _flat(directory: Path, name: str) -> NDArray[Any]:
    dtype = np.dtype(np.int32) if name == "token_ids" else np.dtype(np.uint8)
    path = directory / f"{name}.bin"
    # An empty file cannot be mapped.
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)


def _mapped(path: Path) -> NDArray[Any]:
    return np.load(path, mmap_mode="r", allow_pickle=False)
