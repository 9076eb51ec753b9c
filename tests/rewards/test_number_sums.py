"""Arithmetic that is shown beside its result, signs and bases behind a number, and times of two units."""

from __future__ import annotations

import pytest

from rewards.choice import letter
from rewards.math import equivalent
from rewards.number import close
from rewards.units import quantity
from rlpost.records import Sample


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("2+3=5", 1.0),
        ("10/2 = 5", 1.0),
        ("The sum is 2 + 3 = 5 dollars.", 1.0),
        ("2 \u00d7 2 + 1 = 5", 1.0),
        ("10 - 5 = 5.0", 1.0),
        ("2+2=5", 0.0),
        ("9/2 = 5", 0.0),
        ("2+3", 0.0),
        ("7=5", 0.0),
        ("2+3=5x", 0.0),
        ("2+3=5!", 0.0),
        ("2+3 = 5 million", 0.0),
        ("2+3=5 or 6", 0.0),
        ("1/0=5", 0.0),
        ("5_8", 0.0),
        ("5_{8}", 0.0),
        ("5 degrees below zero", 0.0),
        ("The answer is 5, not 6.", 1.0),
        ("6, not 5", 0.0),
        ("not 5", 0.0),
    ],
)
def test_a_sum_that_is_right_names_its_result(response: str, score: float) -> None:
    assert close.judge(Sample(id="s", prompt="", response=response, gold=5), params={}).score == score


@pytest.mark.parametrize(
    ("response", "gold", "score"),
    [
        ("10^{-7}", 1e-7, 1.0),
        ("10^-6", 1e-7, 0.0),
        ("10^3", 1000, 0.0),
        ("3 degrees below zero", -3, 1.0),
    ],
)
def test_small_powers_of_ten_and_degrees_below_zero_are_numbers(response: str, gold: float, score: float) -> None:
    assert close.judge(Sample(id="s", prompt="", response=response, gold=gold), params={}).score == score


@pytest.mark.parametrize(
    ("response", "gold", "score"),
    [
        ("1 h 30 min", "1.5 h", 1.0),
        ("It takes 1 hour and 30 minutes.", "90 min", 1.0),
        ("1 h 20 min", "1.5 h", 0.0),
        ("minus 1 h 30 min", "1.5 h", 0.0),
        ("31 drops a minute", "31 gtt/min", 1.0),
        ("31 drops an hour", "31 gtt/min", 0.0),
        ("100 international units", "100 IU", 1.0),
        ("5 [m]", "5 m", 1.0),
        ("5 (s)", "5 m", 0.0),
    ],
)
def test_units_are_read_as_people_write_them(response: str, gold: str, score: float) -> None:
    assert quantity.judge(Sample(id="s", prompt="", response=response, gold=gold), params={}).score == score


def test_anything_but_a_choice_denies_it() -> None:
    assert letter.judge(Sample(id="s", prompt="", response="Anything but B", gold="B"), params={}).score == 0.0


@pytest.mark.parametrize(("answer", "score"), [("V - v", 1.0), ("v - v", 0.0), ("v - V", 0.0), ("-v + V", 1.0)])
def test_variables_of_another_case_are_other_variables(answer: str, score: float) -> None:
    sample = Sample(id="s", prompt="", response=rf"\boxed{{{answer}}}", gold="V - v")
    assert equivalent.judge(sample, params={}).score == score
