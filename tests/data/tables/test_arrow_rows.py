"""Parquet and CSV by number: the rows as they were written, unpacked once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from rlpost.data.tables.arrow_rows import csv_table, parquet_table
from rlpost.data.tables.cache import DataCache
from rlpost.errors import DataError


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name)
    return folder / name


def test_parquet_rows_by_number_and_in_another_process(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"q{n}"}], "gold": str(n)} for n in range(2500)]
    table = parquet_table(written(tmp_path, "rows.parquet", rows), cache=DataCache(tmp_path / "cache"))
    again = pickle.loads(pickle.dumps(table))
    assert len(again) == 2500
    assert [(row.number, row.columns) for row in again.read([2400, 3, 3])] == [
        (2400, rows[2400]),
        (3, rows[3]),
        (3, rows[3]),
    ]
    assert again.read([]) == []
    assert again.place_of(7).endswith("rows.parquet, row 7")


def test_files_of_a_folder_follow_each_other_by_name(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    written(tmp_path / "parts", "b.parquet", [{"a": 2}])
    written(tmp_path / "parts", "a.parquet", [{"a": 1}])
    table = parquet_table(tmp_path / "parts", cache=DataCache(tmp_path / "cache"))
    assert [row.columns["a"] for row in table.read([0, 1])] == [1, 2]


def test_a_truncated_file_leaves_no_entry(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.parquet", [{"a": n} for n in range(100)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="must be whole"):
        parquet_table(path, cache=DataCache(tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_csv_keeps_texts_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('prompt,gold\n"two\nlines, one comma",007\nNA,\n')
    table = csv_table(path, separator=",", cache=DataCache(tmp_path / "cache"))
    assert [row.columns for row in table.read([0, 1])] == [
        {"prompt": "two\nlines, one comma", "gold": "007"},
        {"prompt": "NA", "gold": None},
    ]


def test_csv_with_a_short_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,gold\na,1\nb\n")
    with pytest.raises(DataError, match="must be whole"):
        csv_table(tmp_path / "rows.csv", separator=",", cache=DataCache(tmp_path / "cache"))
