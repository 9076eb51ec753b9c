"""JSON lines: a file and the offsets of its lines, found once and kept in the cache.

Arrow is not used for these files. It gives all rows of a column one type and fills missing keys with null, so that a
row would no longer be what the file says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from rlpost.data.tables.cache import DataCache, content_hash, refuse_streams
from rlpost.data.tables.table import NumberedRow
from rlpost.errors import DataError

_BLOCK_BYTES = 1 << 24
_NEWLINE = ord("\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
LINES_VERSION = 1
"""Raise it when the stored form of line offsets changes."""


class _Lines(NamedTuple):
    starts: NDArray[np.int64]
    """Offset of the first byte of each row, shape [rows]; lines of white space are no rows."""
    stops: NDArray[np.int64]
    """Offset behind the last byte of each row."""
    numbers: NDArray[np.int64]
    """The line of each row, counted from 1."""


class JsonLinesTable:
    """The rows of a file with one JSON object per line.

    Args:
        path: The file with plain text.
        shown: The file that the recipe names, if `path` is its unpacked form in the cache.
        cache: Keeps the offsets of the lines.

    Raises:
        DataError: the file cannot be read, or is not UTF-8 by its first bytes.
    """

    def __init__(self, path: Path, *, shown: Path, cache: DataCache) -> None:
        self._path, self._shown = path, shown
        refuse_streams(path, shown=f"jsonl:{shown}")
        try:
            with path.open("rb") as opened:
                first = opened.read(3)
        except OSError as error:
            raise DataError(f"the source jsonl:{shown} must be a readable file; found: {error}") from error
        if first[:2] in _UTF_16:
            raise DataError(
                f"{shown} must be UTF-8; found the byte order mark of UTF-16: save it as UTF-8, for example with "
                f"`iconv -f UTF-16 -t UTF-8`"
            )
        self._stamp = _stamp(path)
        self.identity = content_hash(path)
        self._index = cache.entry("lines", {"content": self.identity, "version": LINES_VERSION}, make=self._find_lines)
        self._open()

    def __len__(self) -> int:
        """See `Table`."""
        return len(self._lines.starts)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to open the table."""
        return {name: value for name, value in vars(self).items() if name not in ("_lines", "_file")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the files again."""
        vars(self).update(state)
        self._open()

    def read(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """See `Table`."""
        # Bytes are read, not mapped: a file that somebody cuts short would end this process by a signal.
        if _stamp(self._path) != self._stamp:
            raise DataError(
                f"{self._shown} must stay as it is while a run reads it; it changed since the run began: start the run "
                "again, and it will use the new content"
            )
        return [NumberedRow(number, self._row(number)) for number in numbers]

    def place_of(self, number: int) -> str:
        """See `Table`."""
        return f"{self._shown}:{int(self._lines.numbers[number])}"

    def _row(self, number: int) -> dict[str, Any]:
        start, stop = int(self._lines.starts[number]), int(self._lines.stops[number])
        try:
            row = _decoded(os.pread(self._file.fileno(), stop - start, start))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.place_of(number)}: a line must be one JSON object; found: {error}") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{self.place_of(number)}: a line must be one JSON object; found a {type(row).__name__}"
                + (" (a file that is one JSON array is read as json:<path>)" if isinstance(row, list) else "")
            )
        return cast("dict[str, Any]", row)

    def _open(self) -> None:
        self._lines = _Lines(
            **{name: np.load(self._index / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _Lines._fields}
        )
        self._file = self._path.open("rb")

    def _find_lines(self, directory: Path) -> None:
        starts, stops = _line_bounds(self._path)
        numbers = np.arange(1, len(starts) + 1)
        with self._path.open("rb") as opened:
            blank = _blank_lines(opened.fileno(), starts, stops)
        lines = _Lines(starts[~blank], stops[~blank], numbers[~blank])
        for name, values in lines._asdict().items():
            np.save(directory / f"{name}.npy", values, allow_pickle=False)


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return json.loads(line)  # It also reads NaN and whole numbers of any length.


def _stamp(path: Path) -> tuple[int, int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} must be a readable file; found: {error}") from error
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _line_bounds(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first byte of each line and the byte behind it, without line feeds and a byte order mark."""
    ends: list[NDArray[np.int64]] = []
    size = 0
    with path.open("rb") as opened:
        begin = len(_BYTE_ORDER_MARK) if opened.read(3) == _BYTE_ORDER_MARK else 0
        opened.seek(0)
        while block := opened.read(_BLOCK_BYTES):
            ends.append(np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE) + size)
            size += len(block)
    stops = np.concatenate([*ends, np.array([size])]).astype(np.int64)
    starts = np.concatenate([np.array([begin]), stops[:-1] + 1]).astype(np.int64)
    return starts, np.maximum(starts, stops)


def _blank_lines(descriptor: int, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which lines are empty or white space; only short ones are looked at, as long ones hold a row or an error."""
    blank = stops == starts
    for index in np.flatnonzero((stops - starts < 80) & ~blank).tolist():
        blank[index] = not os.pread(descriptor, int(stops[index] - starts[index]), int(starts[index])).strip()
    return blank
