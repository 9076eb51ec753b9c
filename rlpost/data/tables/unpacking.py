"""Turns files into JSON lines that can be read by number: unpacks .gz and .zst, and writes out JSON arrays."""

from __future__ import annotations

import bz2
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from rlpost.data.optional_library import required_library
from rlpost.data.tables.cache import DataCache, content_hash
from rlpost.data.tables.json_lines import JsonLinesTable
from rlpost.errors import DataError

_BLOCK_BYTES = 1 << 24
UNPACKED_VERSION = 1
_LINES = "rows.jsonl"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def json_lines_table(path: Path, *, cache: DataCache) -> JsonLinesTable:
    """Open a file of JSON lines, also if it is compressed (`.gz`, `.zst`, `.bz2`).

    Raises:
        DataError: the file cannot be read or unpacked.
    """
    if path.suffix not in _OPEN:
        return JsonLinesTable(path, shown=path, cache=cache)
    return JsonLinesTable(_unpacked(path, cache=cache), shown=path, cache=cache)


def json_array_table(path: Path, *, cache: DataCache) -> JsonLinesTable:
    """Open a file that is one JSON array of objects, also if it is compressed.

    Raises:
        DataError: the file is no JSON array.
    """
    ijson = required_library("ijson", purpose=f"the source json:{path}")
    plain = _unpacked(path, cache=cache) if path.suffix in _OPEN else path

    def write(directory: Path) -> None:
        try:
            with plain.open("rb") as opened, (directory / _LINES).open("w", encoding="utf-8") as lines:
                for row in ijson.items(opened, "item", use_float=True):
                    lines.write(json.dumps(row) + "\n")
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise DataError(f"{path} must be one JSON array of objects in UTF-8; found: {error}") from error

    made_from = {"content": content_hash(path), "version": UNPACKED_VERSION}
    return JsonLinesTable(cache.entry("array", made_from, make=write) / _LINES, shown=path, cache=cache)


def _unpacked(path: Path, *, cache: DataCache) -> Path:
    def unpack(directory: Path) -> None:
        try:
            with _OPEN[path.suffix](path) as packed, (directory / _LINES).open("wb") as lines:
                while block := packed.read(_BLOCK_BYTES):
                    lines.write(block)
        except (EOFError, OSError, ValueError, zlib.error) as error:
            raise DataError(f"{path} must be a whole {path.suffix} file; found: {error}") from error

    return cache.entry("unpacked", {"content": content_hash(path), "version": UNPACKED_VERSION}, make=unpack) / _LINES


def _zstandard(path: Path) -> Any:
    pyarrow = required_library("pyarrow", purpose=f"the compressed file {path}")
    return pyarrow.input_stream(str(path), compression="zstd")


_OPEN: Mapping[str, Callable[[Path], AbstractContextManager[_Readable]]] = {
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".zst": _zstandard,
}
