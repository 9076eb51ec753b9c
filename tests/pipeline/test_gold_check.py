"""Golds that a verifier cannot read are found before the first device is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeParts
from small_run import pipeline_of, recipe_document, recipe_of

from rlpost.errors import DataError
from rlpost.pipeline.gold_check import MOST_ROWS, check_golds


def told(folder: Path, golds: list[Any], *, verifier: str = "math.final_integer") -> list[str]:
    document = recipe_document(folder)
    rows = [
        {"prompt": f"{n} + 1 =", "response": "1", "gold": gold if gold is not None else str(n)}
        for n, gold in enumerate(golds)
    ]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document["rewards"] = {"routes": {"*": {"verifier": verifier}}}
    document["model"]["max_length"] = 64
    lines: list[str] = []
    check_golds(recipe_of(document), pipeline_of(document, FakeParts()).data, say=lines.append)
    return lines


def test_some_golds_that_cannot_be_read_are_said_with_a_row(tmp_path: Path) -> None:
    (line,) = told(tmp_path, [None] * 10 + ["a dozen or so"] + [None] * 9)
    assert line.startswith("sums: verifier math.final_integer cannot read 1 of 20 golds, for example row sums/10: ")


def test_rows_are_looked_at_all_over_a_large_data_set(tmp_path: Path) -> None:
    wrong = dict.fromkeys(range(0, 300, 3), "no number at all")
    (line,) = told(tmp_path, [wrong.get(n) for n in range(300)])
    assert f" of {MOST_ROWS} golds" in line


def test_a_data_set_without_a_readable_gold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it can read none of 12 rows, for example row sums/\d+: .*columns\.gold"):
        told(tmp_path, ["no number at all"] * 12)


def test_readable_golds_are_not_mentioned(tmp_path: Path) -> None:
    assert told(tmp_path, [None] * 5) == []
