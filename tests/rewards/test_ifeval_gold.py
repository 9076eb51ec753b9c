from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from ifeval_judging import judged

from rewards.ifeval_gold import KINDS, SOURCES, read_instructions
from rlpost.records import Fault

ROW = {"instruction_id": ["punctuation:no_comma", "keywords:existence"], "kwargs": [None, {"keywords": ["it's"]}]}


@pytest.mark.parametrize("gold", [str([ROW]), str(ROW), [json.dumps(ROW)], str([json.dumps(ROW)]), f"  {ROW}\n"])
def test_a_python_literal_and_json_inside_a_list_are_read(gold: Any) -> None:
    assert [instruction.id for instruction in read_instructions(gold)] == ROW["instruction_id"]
    assert [judged(text, gold).score for text in ("it's so", "it's so, here", "so")] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "gold",
    [
        "[__import__('os').getcwd()]",
        "{'instruction_id': 'punctuation:no_comma', 'kwargs': dict()}",
        "{'func_name': 'validate_no_' + 'commas'}",
        "{'func_name': f'validate_no_commas'}",
        "{'func_name': 'validate_no_commas'",
        "{'func_name': 'validate_no_commas'}}",
        "{'func_name' 'validate_no_commas'}",
        "{{'func_name': 'validate_no_commas'}}",
        "[1 for _ in [1]]",
        "[" * 30 + "]" * 30 + "'",
        "[" * 100_000,
        "[-" + "-" * 100_000 + "1]",
        "[" + "9" * 10_000 + ",]",
        "['" + "a" * 1_000_000 + "']",
    ],
)
def test_a_text_that_is_no_plain_literal_is_a_fault_and_soon(gold: str) -> None:
    started = time.monotonic()
    assert judged("a", gold).fault == Fault.GOLD
    assert time.monotonic() - started < 1.0


def test_an_unknown_instruction_names_the_nearest_known_one() -> None:
    verdict = judged("a", {"instruction_id": "keyword:existance", "kwargs": {"keywords": ["a"]}})
    assert (verdict.fault, verdict.score) == (Fault.GOLD, None)
    assert "'keyword:existance' is not known; did you mean keywords:existence?" in verdict.reason


@pytest.mark.parametrize("name", KINDS)
def test_no_instruction_takes_an_argument_that_it_does_not_know(name: str) -> None:
    verdict = judged("a", {"instruction_id": name, "kwargs": {"no_such_argument": 1}})
    assert (verdict.fault, "no_such_argument" in verdict.reason) == (Fault.GOLD, True)


def test_the_page_lists_each_instruction_with_its_arguments_and_sources() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ifeval.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    told = [(row[0].strip("`"), tuple(re.findall("`(.*?)`", row[1])), row[2]) for row in rows if len(row) == 4]
    assert told == [
        (name, tuple(kind.readers), ", ".join(source for source, kinds in SOURCES.items() if name in kinds))
        for name, kind in KINDS.items()
    ]
