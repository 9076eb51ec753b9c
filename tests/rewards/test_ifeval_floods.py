from __future__ import annotations

import time
from typing import Any

import pytest
import test_ifeval
import test_ifeval_bench_format
import test_ifeval_bench_tasks
import test_ifeval_bench_words
import test_ifeval_training
import test_ifeval_tulu
from ifeval_judging import judged

from rewards.ifeval_gold import KINDS

MODULES = (
    test_ifeval,
    test_ifeval_tulu,
    test_ifeval_training,
    test_ifeval_bench_words,
    test_ifeval_bench_format,
    test_ifeval_bench_tasks,
)
GOLDS: dict[str, dict[str, Any]] = {
    row[0]: {"instruction_id": row[0], "kwargs": row[1]} for module in MODULES for row in module.FOLLOWED
}
"""A gold for each instruction."""


def test_each_instruction_has_a_gold() -> None:
    assert set(GOLDS) == set(KINDS)
    assert len(KINDS) == 137


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("response", ["", " \n\t", "```\n```", "!!!", "\u200b\u200d", "\U0001f600"])
def test_a_response_without_letter_or_digit_follows_no_instruction(name: str, response: str) -> None:
    verdict = judged(response, GOLDS[name])
    assert (verdict.fault, verdict.score) == (None, 0.0)


@pytest.mark.parametrize(
    "mark",
    [
        *(
            ".",
            "!?",
            "*",
            "**",
            "[",
            "(",
            "<<",
            "<i>",
            "\n",
            "\n ",
            '."',
            '"',
            "'",
            '",',
            "P.",
            "Day 1",
            "1.\n",
            "{",
            ",",
        ),
        *("-", "- a\n", "Dance ", "Question 1\n", "a)\n", "e", "ing", "\t", "...x", "\u3002", "\U0001f600", "a'a"),
    ],
)
def test_no_instruction_takes_long_for_a_flood_of_one_mark(mark: str) -> None:
    text = mark * (60_000 // len(mark)) + "x"
    started = time.monotonic()
    verdict = judged(text, list(GOLDS.values()), partial=True)
    assert (verdict.fault, len(verdict.parts)) == (None, len(GOLDS))
    assert time.monotonic() - started < 10.0
