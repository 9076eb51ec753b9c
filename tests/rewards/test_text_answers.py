from __future__ import annotations

from typing import Any

import pytest

from rewards.text import contains, exact
from rlpost.records import Fault, Sample


@pytest.mark.parametrize("verifier", [exact, contains])
@pytest.mark.parametrize("gold", [None, "", [], ["a", ""], {"a": 1}, ["a", None]])
def test_a_gold_without_text_is_a_gold_fault(verifier: Any, gold: object) -> None:
    verdict = verifier.judge(Sample(id="s", prompt="", response="a", gold=gold), params={})
    assert (verdict.fault, verdict.score) == (Fault.GOLD, None)


@pytest.mark.parametrize(
    ("response", "gold", "score"),
    [("\uff21\uff22", "ab", 1.0), ("STRASSE", "stra\u00dfe", 1.0), ("46", 46, 1.0), ("ab", "a b", 0.0)],
)
def test_exact_folds_characters_case_and_space(response: str, gold: object, score: float) -> None:
    assert exact.judge(Sample(id="s", prompt="", response=response, gold=gold), params={}).score == score


def test_contains_names_the_gold_it_found_past_one_inside_a_word() -> None:
    verdict = contains.judge(Sample(id="s", prompt="", response="carts and art", gold=["cat", "art"]), params={})
    assert (verdict.score, verdict.parsed) == (1.0, "art")


def test_contains_pays_no_response_longer_than_max_words() -> None:
    sample = Sample(id="s", prompt="", response="one two three", gold="two")
    scores = [contains.judge(sample, params={"max_words": count}).score for count in (2, 3)]
    assert scores == [0.0, 1.0]
