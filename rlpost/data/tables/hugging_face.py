"""Hugging Face data sets: a folder written by `save_to_disk`, a folder of data files, or a name on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlpost.data.optional_library import required_library
from rlpost.data.tables.arrow_rows import ArrowTable
from rlpost.data.tables.cache import DataCache, refuse_streams
from rlpost.errors import DataError


def hugging_face_table(
    place: str, *, split: str, params: Mapping[str, Any], rows: int | None, cache: DataCache
) -> ArrowTable:
    """Open one split; `params` are passed to `datasets.load_dataset`, for example `{"name": "main"}`.

    With `streaming: true` in `params`, the first `rows` rows are fetched one by one and kept in the cache.

    Raises:
        DataError: the data set, its configuration or its split cannot be loaded, or rows are streamed without `rows`.
    """
    source = f"the source hf:{place}"
    datasets = required_library("datasets", purpose=source)
    refuse_streams(Path(place), shown=f"hf:{place}")
    try:
        if _is_saved_to_disk(Path(place)):
            loaded = datasets.load_from_disk(place)
            table = loaded[split] if isinstance(loaded, datasets.DatasetDict) else loaded
        else:
            table = datasets.load_dataset(place, split=split, **params)
        if isinstance(table, datasets.IterableDataset):
            table = _streamed(table, datasets, place=place, split=split, params=params, rows=rows, cache=cache)
    except DataError:
        raise
    except Exception as error:  # Builders raise many kinds of errors for malformed data.
        raise DataError(f"{source} with split {split!r} and params {dict(params)} cannot be loaded: {error}") from error
    return ArrowTable(table, shown=f"hf:{place}", identity=str(table._fingerprint))


def _streamed(
    stream: Any,
    datasets: Any,
    *,
    place: str,
    split: str,
    params: Mapping[str, Any],
    rows: int | None,
    cache: DataCache,
) -> Any:
    if rows is None:
        raise DataError(f"hf:{place} streams its rows: set rows to the number that is to be fetched")

    def fetched() -> Iterator[Any]:
        yield from stream.take(rows)

    def fetch(directory: Path) -> None:
        made = datasets.Dataset.from_generator(fetched, cache_dir=str(directory / "building"))
        made.save_to_disk(str(directory / "rows"))

    made_from = {"place": place, "split": split, "params": json.dumps(dict(params), sort_keys=True), "rows": rows}
    return datasets.load_from_disk(str(cache.entry("streamed", made_from, make=fetch) / "rows"))


def _is_saved_to_disk(directory: Path) -> bool:
    return any((directory / marker).is_file() for marker in ("dataset_dict.json", "state.json"))
