"""Packed files and JSON arrays give the rows that are in them."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pyarrow
import pytest

from rlpost.data.tables.cache import DataCache
from rlpost.data.tables.unpacking import json_array_table, json_lines_table
from rlpost.errors import DataError

ROWS = [{"prompt": "a", "n": 1}, {"prompt": "ü", "n": 2.5}, {"prompt": "c", "nested": [{"x": None}]}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def packed(ending: str, content: bytes) -> bytes:
    if ending == "zst":
        return pyarrow.compress(content, "zstd", asbytes=True)
    return gzip.compress(content) if ending == "gz" else bz2.compress(content)


@pytest.mark.parametrize("ending", ["gz", "bz2", "zst"])
def test_packed_lines(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.jsonl.{ending}"
    packed = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": lambda content: pyarrow.compress(content, "zstd", asbytes=True),
    }
    path.write_bytes(packed[ending](LINES))
    table = json_lines_table(path, cache=DataCache(tmp_path / "cache"))
    assert [row.columns for row in table.read(range(3))] == ROWS
    assert table.place_of(2) == f"{path}:3"


@pytest.mark.parametrize("ending", ["gz", "bz2", "zst"])
def test_a_packed_file_that_was_cut_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.jsonl.{ending}"
    path.write_bytes(packed(ending, LINES * 100)[:-20])
    with pytest.raises(DataError, match=rf"must be a whole \.{ending} file"):
        json_lines_table(path, cache=DataCache(tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_array_of_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS, indent=2))
    table = json_array_table(tmp_path / "rows.json", cache=DataCache(tmp_path / "cache"))
    assert [row.columns for row in table.read(range(3))] == ROWS


@pytest.mark.parametrize("text", ['[{"a": 1}, {', '[{"a": 1}] x'])
def test_a_broken_array_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match="must be one JSON array"):
        json_array_table(tmp_path / "rows.json", cache=DataCache(tmp_path / "cache"))
