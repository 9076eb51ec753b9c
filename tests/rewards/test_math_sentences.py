"""Mathematical answers outside of a box, where a recipe reads them with `where: auto`."""

from __future__ import annotations

import time

import pytest

from rewards.math import equivalent
from rewards.math_sentences import answer_in_sentence
from rlpost.records import Sample


def score(response: str, gold: str) -> float | None:
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    return equivalent.judge(sample, params=equivalent.validated({"where": "auto"})).score


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("Work.\n<answer>7</answer>", "7"),
        ("Thus, x = 7.", "7"),
        ("The answer is 7.", "7"),
        ("The answer is $7$.", "7"),
        ("So the answer is $\\frac{1}{2}$.", "1/2"),
        ("Therefore, the final answer is $x=7$.", "7"),
        ("Hence $x = 7$.", "7"),
        ("x = 7", "7"),
        ("$$x = 7$$", "7"),
        ("\\[\nx = 7\n\\]", "7"),
        ("**7**", "7"),
        ("Answer: $\\sqrt{2}$", "\\sqrt2"),
        ("The final answer is: $\\boxed{7}$", "7"),
        ("<answer>$x=7$</answer>", "7"),
        ("<answer>\\boxed{7}</answer>", "7"),
        ("#### 7", "7"),
        ("Therefore there are 7 ways.", "7"),
        ("So the total is 7 dollars.", "7"),
        ("The answer is (1, 2).", "(1,2)"),
        ("The answer is $[0,1)$.", "[0,1)"),
        ("Answer: x = 1 or x = 2", "1,2"),
        ("So x = \\frac{1}{2}.", "\\frac12"),
        ("The answer is \\(7\\).", "7"),
        ("We get $7$", "7"),
        ("Answer: 7 cm", "7"),
        ("The solutions are $x=1$ and $x=2$.", "1,2"),
        ("The value of $x$ is $7$.", "7"),
        ("Thus the probability is $\\frac{1}{3}$.", "\\frac13"),
        ("Therefore, $\\sqrt{2}$", "\\sqrt2"),
        ("So $y = 2x+1$.", "2x+1"),
        ("Thus, $x \\in [0,1]$.", "[0,1]"),
        ("The answer is east.", "\\text{east}"),
        ("The answer is **7**.\n\nI hope that helps!", "7"),
        ("The area is $36\\pi$ square units.", "36\\pi"),
    ],
)
def test_an_answer_is_read_from_tags_and_sentences(response: str, gold: str) -> None:
    assert score(response, gold) == 1.0


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("I have 7 apples. I refuse.", "7"),
        ("Thus, x = 8.", "7"),
        ("The answer is not 7.", "7"),
        ("The answer is 7 or 8.", "7"),
        ("5 = 7", "7"),
        ("Thus x > 7.", "7"),
        ("<answer>8</answer>", "7"),
        ("The answer is 8, not 7", "7"),
        ("minus 7", "7"),
        ("What is 7?", "7"),
        ("half of 7", "7"),
        ("x = 3 + 4", "7"),
        ("I cannot find 7", "7"),
        ("<think>The answer is 7", "7"),
        ("between 6 and 7", "7"),
        ("The answer is $\\sqrt{3}$.", "\\sqrt2"),
        ("The solutions are $x=1$ and $x=3$.", "1,2"),
        ("If x is 7 then", "8"),
    ],
)
def test_another_answer_or_none_is_not_paid(response: str, gold: str) -> None:
    assert score(response, gold) == 0.0


def test_a_long_line_is_no_sentence_and_costs_no_time() -> None:
    started = time.process_time()
    assert answer_in_sentence("the " + "a b " * 100_000 + "is 7") is None
    assert answer_in_sentence("the " + "a " * 140) is None
    assert time.process_time() - started < 1.0
