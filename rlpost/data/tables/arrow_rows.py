"""Parquet, CSV and Hugging Face data sets as memory-mapped Arrow, by way of `datasets`.

Parquet and CSV are unpacked once into the cache, so that any row can be read without its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rlpost.data.optional_library import required_library
from rlpost.data.tables.cache import DataCache, content_hash, refuse_streams
from rlpost.data.tables.table import NumberedRow
from rlpost.errors import DataError

ARROW_VERSION = 1
"""Raise it when the way in which files are unpacked changes."""
_ROWS_PER_BATCH = 1000
_ROWS = "rows.arrow"


class ArrowTable:
    """The rows of a memory-mapped Arrow table, each as plain Python values.

    Args:
        rows: A `datasets.Dataset`.
        shown: The source as the recipe names it.
        identity: A hash of the content.
    """

    def __init__(self, rows: Any, *, shown: str, identity: str) -> None:
        self._rows, self._shown, self.identity = rows, shown, identity

    def __len__(self) -> int:
        """See `Table`."""
        return len(self._rows)

    def read(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """See `Table`."""
        try:
            columns: Mapping[str, list[Any]] = self._rows[list(numbers)] if len(numbers) else {}
        except Exception as error:  # Decoders of columns raise many kinds of errors for malformed data.
            raise DataError(f"{self._shown} must hold whole rows with text in UTF-8; found: {error}") from error
        return [
            NumberedRow(number, {name: values[place] for name, values in columns.items()})
            for place, number in enumerate(numbers)
        ]

    def place_of(self, number: int) -> str:
        """See `Table`."""
        return f"{self._shown}, row {number}"


def parquet_table(path: Path, *, cache: DataCache) -> ArrowTable:
    """Open a Parquet file, or all Parquet files of a folder in the order of their names.

    Raises:
        DataError: there is no such file, it is not Parquet, or the files have different columns.
    """
    shown = f"parquet:{path}"
    refuse_streams(path, shown=shown)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise DataError(f"the source {shown} must be a Parquet file or a folder of *.parquet files; there is none")
    parquet = required_library("pyarrow.parquet", purpose=f"the source {shown}")

    def batches() -> Iterator[Any]:
        for file in files:
            yield from parquet.ParquetFile(file).iter_batches(batch_size=_ROWS_PER_BATCH)

    return _unpacked("parquet", files, batches, shown=shown, cache=cache)


def csv_table(path: Path, *, separator: Literal[",", "\t"], cache: DataCache) -> ArrowTable:
    """Open a file of comma- or tab-separated values; its first line names the columns, and every value is a text.

    Raises:
        DataError: the file cannot be read, or a line has another number of values than the first.
    """
    shown = f"csv:{path}"
    csv = required_library("pyarrow.csv", purpose=f"the source {shown}")
    pyarrow = required_library("pyarrow", purpose=f"the source {shown}")

    def batches() -> Iterator[Any]:
        parse = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
        with csv.open_csv(path, parse_options=parse) as first:
            names: list[str] = first.schema.names
        # Texts keep what a guessed type would change, such as the zeros in front of a code.
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pyarrow.string()), null_values=[""], strings_can_be_null=True
        )
        with csv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
            yield from reader

    return _unpacked("csv", [path], batches, shown=shown, cache=cache)


def _unpacked(
    kind: str, files: Sequence[Path], batches: Callable[[], Iterator[Any]], *, shown: str, cache: DataCache
) -> ArrowTable:
    pyarrow = required_library("pyarrow", purpose=f"the source {shown}")
    datasets = required_library("datasets", purpose=f"the source {shown}")
    contents = [content_hash(file) for file in files]

    def unpack(directory: Path) -> None:
        writer: Any = None
        try:
            for batch in batches():
                writer = writer or pyarrow.ipc.new_stream(directory / _ROWS, batch.schema)
                writer.write_batch(batch)
        except pyarrow.ArrowException as error:
            raise DataError(
                f"the source {shown} must be whole files of their kind with the same columns throughout; found: {error}"
            ) from error
        finally:
            if writer is not None:
                writer.close()

    entry = cache.entry(kind, {"contents": contents, "version": ARROW_VERSION}, make=unpack)
    if not (entry / _ROWS).exists():
        raise DataError(f"the source {shown} must have rows; found none")
    rows = datasets.Dataset.from_file(str(entry / _ROWS))
    return ArrowTable(rows, shown=shown, identity=entry.name)
