"""Rows as people have them are read without a word of configuration, and nothing of them is dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_sources import one

from rlpost.errors import DataError
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example


def said(example: Example) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]:
    parts = (example.messages, example.completion, example.rejected)
    first, second, third = ([(turn.role, turn.text) for turn in part] for part in parts)
    return first, second, third


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
            ([("user", "Q")], [("assistant", "A")], []),
        ),
        (
            {"system": "S", "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
            ([("system", "S"), ("user", "Q")], [("assistant", "A")], []),
        ),
        (
            {"instruction": "Translate.", "input": "dog", "output": "Hund"},
            ([("user", "Translate.\n\ndog")], [("assistant", "Hund")], []),
        ),
        (
            {"instruction": "Say hi.", "input": "", "output": "Hi."},
            ([("user", "Say hi.")], [("assistant", "Hi.")], []),
        ),
        (
            {"instruction": "Who?", "context": "A text.", "response": "I.", "category": "qa"},
            ([("user", "Who?\n\nA text.")], [("assistant", "I.")], []),
        ),
        (
            {
                "chosen": "\n\nHuman: Q\n\nAssistant: P\n\nHuman: R\n\nAssistant: good",
                "rejected": "\n\nHuman: Q\n\nAssistant: P\n\nHuman: R\n\nAssistant: bad",
            },
            ([("user", "Q"), ("assistant", "P"), ("user", "R")], [("assistant", "good")], [("assistant", "bad")]),
        ),
        (
            {"messages": '[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]'},
            ([("user", "Q")], [("assistant", "A")], []),
        ),
    ],
)
def test_the_turns_of_a_row_are_its_turns(tmp_path: Path, row: dict[str, Any], expected: Any) -> None:
    assert said(one(tmp_path, row)) == expected


@pytest.mark.parametrize(
    ("row", "gold", "meta"),
    [
        ({"question": "How many?", "answer": "3+1=<<3+1=4>>4\n#### 1,234"}, "1234", {}),
        (
            {"prompt": [{"role": "user", "content": "Q"}], "reward_model": {"ground_truth": "4"}, "data_source": "g"},
            "4",
            {"reward_model": {"ground_truth": "4"}, "data_source": "g"},
        ),
        (
            {"messages": [{"role": "user", "content": "Q"}], "ground_truth": "42", "dataset": "gsm8k"},
            "42",
            {"dataset": "gsm8k"},
        ),
    ],
)
def test_the_reference_of_a_row_is_its_gold(tmp_path: Path, row: dict[str, Any], gold: str, meta: Any) -> None:
    example = one(tmp_path, row)
    assert (example.gold, example.meta) == (gold, meta)


def test_a_column_inside_a_column_is_named_by_a_path(tmp_path: Path) -> None:
    row = {"q": {"text": "Q"}, "extra": {"answer": {"value": 7}}}
    example = one(tmp_path, row, columns={"prompt": "q.text", "gold": "extra.answer.value"})
    assert (example.question, example.gold) == ("Q", 7)


def test_a_recipe_that_names_its_columns_is_taken_at_its_word(tmp_path: Path) -> None:
    row = {"question": "Q", "answer": "so #### 4"}
    example = one(tmp_path, row, columns={"prompt": "question", "response": "answer"})
    assert (example.response, example.gold) == ("so #### 4", None)


def test_a_gold_that_the_recipe_names_is_found_in_rows_of_a_known_shape(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Q"}], "ground_truth": "42", "dataset": "gsm8k"}
    example = one(tmp_path, row, columns={"gold": "ground_truth"})
    assert (example.gold, example.question, example.meta) == ("42", "Q", {"dataset": "gsm8k"})


def test_a_speaker_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be from one of human, user, .*; found 'narrator'"):
        one(tmp_path, {"conversations": [{"from": "human", "value": "Q"}, {"from": "narrator", "value": "x"}]})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("rows.jsonl", "jsonl:rows.jsonl"),
        ("a/rows.jsonl.gz", "jsonl:a/rows.jsonl.gz"),
        ("rows.json", "json:rows.json"),
        ("rows.tsv", "tsv:rows.tsv"),
        ("parquet:rows", "parquet:rows"),
        ("hf:org/name.json", "hf:org/name.json"),
    ],
)
def test_a_file_shows_its_kind_by_its_ending(written: str, meant: str) -> None:
    assert DataConfig(source=written).source == meant


def test_a_source_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"source must be reasoning_gym:<task>.*found 'rows\.txt'"):
        DataConfig(source="rows.txt")
