"""JSON lines by number: the same rows as a parser line by line, from any process, and refused when the file changes."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlpost.data.tables.cache import DataCache
from rlpost.data.tables.json_lines import JsonLinesTable
from rlpost.errors import DataError


def table_of(path: Path, folder: Path) -> JsonLinesTable:
    return JsonLinesTable(path, shown=path, cache=DataCache(folder / "cache"))


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), max_size=12),
    ends=st.sampled_from(["\n", "\r\n", "\n\n", "\n  \t\n"]),
    last=st.booleans(),
    mark=st.booleans(),
)
def test_rows_by_number_equal_a_parser_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ends: str, last: bool, mark: bool
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    text = ends.join(json.dumps(row) for row in rows) + (ends if last else "")
    (folder / "rows.jsonl").write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    table = table_of(folder / "rows.jsonl", folder)
    assert len(table) == len(rows)
    backwards = list(range(len(rows)))[::-1]
    assert [dict(row.columns) for row in table.read(backwards)] == rows[::-1]


def test_lines_longer_than_a_block_and_numbers_beyond_64_bits_and_nan(tmp_path: Path) -> None:
    rows = [{"text": "x" * (1 << 25)}, {"big": 10**30}]
    lines = [json.dumps(row) for row in rows] + ['{"rate": NaN}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    table = table_of(tmp_path / "rows.jsonl", tmp_path)
    assert [row.columns for row in table.read([0, 1])] == rows
    assert str(table.read([2])[0].columns["rate"]) == "nan"


def test_a_place_is_the_line_that_an_editor_shows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n\n   \n{"a": 2}\n')
    table = table_of(tmp_path / "rows.jsonl", tmp_path)
    assert [table.place_of(number).rpartition(":")[2] for number in (0, 1)] == ["1", "4"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b'{"a": 1}\n{"a": \n', r"rows.jsonl:2: a line must be one JSON object"),
        (b'{"a": 1}\n[1]\n', r"rows.jsonl:2: .* found a list \(a file that is one JSON array is read as json:"),
        ('{"a": 1}\n'.encode("utf-16"), "iconv -f UTF-16"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=word):
        table_of(tmp_path / "rows.jsonl", tmp_path).read([0, 1])


def test_another_process_opens_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    again = pickle.loads(pickle.dumps(table_of(tmp_path / "rows.jsonl", tmp_path)))
    assert [row.columns for row in again.read([1])] == [{"a": 2}]


def test_a_file_that_changes_during_the_run_is_refused_even_at_equal_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n')
    table, times = table_of(path, tmp_path), path.stat()
    path.write_text('{"a": 2}\n')
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError, match="changed since the run began"):
        table.read([0])
    assert table_of(path, tmp_path).identity != table.identity
    assert table_of(path, tmp_path).read([0])[0].columns == {"a": 2}


def test_offsets_are_found_again_and_a_half_written_entry_is_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n')
    table_of(path, tmp_path)
    (entry,) = (tmp_path / "cache").iterdir()
    stamp = (entry / "starts.npy").stat().st_mtime_ns
    table_of(path, tmp_path)
    assert (entry / "starts.npy").stat().st_mtime_ns == stamp
    (entry / "made_from.json").unlink()
    (entry / "starts.npy").write_bytes(b"")
    assert len(table_of(path, tmp_path)) == 1
