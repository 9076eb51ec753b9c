"""The cache of prepared data: folders keyed by a hash of everything that they were made from.

An entry is made beside its place and published by a rename, so that a half-written one is never found. Two processes
that make the same entry at the same time both succeed, and one of the two results is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from rlpost.errors import DataError
from rlpost.platform.content import file_hash

_KEY = "made_from.json"


@dataclass(frozen=True, slots=True)
class DataCache:
    """A folder of entries; anyone may delete it, and what is needed is made again."""

    root: Path

    def entry(self, kind: str, made_from: Mapping[str, Any], *, make: Callable[[Path], None]) -> Path:
        """Return the folder of the entry; `make` fills an empty folder if there is none yet.

        Args:
            kind: A word for people: the first part of the folder's name.
            made_from: Everything that decides the content, as plain data. Equal values give the same entry.
            make: Writes the files of the entry into the folder that it is given.

        Raises:
            DataError: the cache cannot be written.
        """
        written = json.dumps(made_from, sort_keys=True)
        final = self.root / f"{kind}-{xxhash.xxh3_128_hexdigest(written.encode())}"
        if (final / _KEY).is_file():
            return final
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f"writing-{kind}-", dir=self.root))
        except OSError as error:
            raise self._unusable(error) from error
        try:
            make(beside)
            (beside / _KEY).write_text(written, encoding="utf-8")
            _flush(beside)
            self._publish(beside, final)
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return final

    def _publish(self, beside: Path, final: Path) -> None:
        try:
            beside.rename(final)
        except OSError:
            # Another process was faster, or a damaged entry without a key is in the way.
            if (final / _KEY).is_file():
                return
            shutil.rmtree(final)
            beside.rename(final)

    def _unusable(self, error: OSError) -> DataError:
        return DataError(
            f"prepared data must be written to the cache {self.root}; found: {error}: make room there, or set "
            "data.cache_dir in the cluster file to another folder"
        )


def content_hash(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes.

    It is computed at every start, so that a file that changed at equal size and time of modification is noticed; this
    costs one reading of the file.

    Raises:
        DataError: the file cannot be read.
    """
    refuse_streams(path, shown=str(path))
    try:
        return file_hash(path)
    except OSError as error:
        raise DataError(f"{path} must be a readable file; found: {error}") from error


def refuse_streams(path: Path, *, shown: str) -> None:
    """Refuse a path that is, or contains, a pipe or a device: it may give nothing or never end.

    Raises:
        DataError: there is one.
    """
    for place in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if place.exists() and not place.is_file() and not place.is_dir():
            raise DataError(f"the source {shown} must be files; {place} is neither a file nor a directory")


def _flush(directory: Path) -> None:
    """Write the files through to the disk, so that a rename never survives without them."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as opened:
                os.fsync(opened.fileno())
