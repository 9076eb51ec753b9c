"""Reads rows of JSON-lines files, Parquet files and Hugging Face data sets as mappings from column to value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from rlpost.data.optional_library import required_library
from rlpost.errors import DataError

Choose = Callable[[int], list[int]]
"""Number of rows in the source -> indices of the rows to use, in order."""


class NumberedRow(NamedTuple):
    """A row and its position in the source, counted from 0."""

    number: int
    columns: Mapping[str, Any]


def read_jsonl(path: Path, *, choose: Choose) -> list[NumberedRow]:
    """Read a file with one JSON object per line; blank lines do not count.

    Raises:
        DataError: the file does not exist, or a line is not a JSON object; the message names file and line.
    """
    rows: list[dict[str, Any]] = []
    try:
        # Some editors begin a file with a byte order mark, which is no part of the first row.
        lines = _no_stream(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the source jsonl:{path} must be a readable UTF-8 file; found: {error}") from error
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{line_number}: a line must be one JSON object; found: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{line_number}: a line must be one JSON object; found a {type(row).__name__}")
        rows.append(cast("dict[str, Any]", row))
    return [NumberedRow(number, rows[number]) for number in choose(len(rows))]


def read_parquet(path: Path, *, choose: Choose) -> list[NumberedRow]:
    """Read a Parquet file, or all Parquet files of a directory in the order of their names.

    Raises:
        DataError: the file does not exist, or it is not Parquet.
    """
    source = f"the source parquet:{path}"
    parquet = required_library("pyarrow.parquet", purpose=source)
    arrow_error: type[Exception] = required_library("pyarrow", purpose=source).ArrowException
    try:
        table = parquet.read_table(_no_stream(path))
    except (OSError, arrow_error) as error:
        raise DataError(f"{source} must be a Parquet file or a directory of them; found: {error}") from error
    numbers = choose(table.num_rows)
    try:
        rows = table.take(numbers).to_pylist()
    except (ValueError, arrow_error) as error:
        raise DataError(f"{source} must hold whole rows with text in UTF-8; found: {error}") from error
    return [NumberedRow(*pair) for pair in zip(numbers, rows, strict=True)]


def read_hugging_face(place: str, *, split: str, params: Mapping[str, Any], choose: Choose) -> list[NumberedRow]:
    """Read one split of a directory written by `save_to_disk`, of a directory of data files, or of a hub name.

    `params` are passed to `datasets.load_dataset`, for example `{"name": "main"}`.

    Raises:
        DataError: the data set, its configuration or its split cannot be loaded.
    """
    source = f"the source hf:{place}"
    datasets = required_library("datasets", purpose=source)
    try:
        if _is_saved_to_disk(_no_stream(Path(place))):
            loaded = datasets.load_from_disk(place)
            table = loaded[split] if isinstance(loaded, datasets.DatasetDict) else loaded
        else:
            table = datasets.load_dataset(place, split=split, **params)
    except Exception as error:  # Builders raise many kinds of errors for malformed data.
        raise DataError(f"{source} with split {split!r} and params {dict(params)} cannot be loaded: {error}") from error
    numbers = choose(len(table))
    try:
        rows = list(table.select(numbers))
    except Exception as error:  # Files are read only now, so broken ones are detected here.
        raise DataError(f"{source} must hold whole rows with text in UTF-8; found: {error}") from error
    return [NumberedRow(*pair) for pair in zip(numbers, rows, strict=True)]


def _no_stream(path: Path) -> Path:
    """Return the path, unless it or something in it is a pipe or a device, which may give nothing or never end."""
    for place in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if place.exists() and not place.is_file() and not place.is_dir():
            raise OSError(f"{place} is neither a file nor a directory")
    return path


def _is_saved_to_disk(directory: Path) -> bool:
    return any((directory / marker).is_file() for marker in ("dataset_dict.json", "state.json"))
