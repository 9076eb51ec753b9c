from __future__ import annotations

import math

import pytest

from rewards.final_integer import final_integer
from rewards.number import close
from rewards.number_reading import read_number
from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict


def judged(response: str, gold: object, **params: object) -> Verdict:
    return close.judge(Sample(id="s", prompt="", response=response, gold=gold), params=close.validated(params))


@pytest.mark.parametrize(
    "gold", [True, math.nan, math.inf, "", "seven", "5 or 7", "5=7", "2+2", "1e99999999", "1/0", [7], {"a": 7}, "1,5"]
)
def test_a_gold_that_is_no_number_is_a_gold_fault(gold: object) -> None:
    assert judged("7", gold).fault is Fault.GOLD


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("x = 5", 5),
        ("5.", 5),
        ("5.0", 5),
        ("007", 7),
        ("+7", 7),
        (".5", 0.5),
        ("\u00bd", 0.5),
        ("\u0664\u0662", 42),
        ("\uff14\uff12", 42),
        ("$42$", 42),
        ("The answer is $42.", 42),
        ("42 USD", "$42"),
        ("\u20135", -5),
        ("\u22125", -5),
        ("1e5", 100000),
        ("1.5\u00d710^8", 150000000),
        (r"1.5 \times 10^{8}", 150000000),
        ("about 5", 5),
        ("\u2248 5", 5),
        ("12 m^2", 12),
        ("The area is 12 m^2.", 12),
        ("The CO2 level is 415 ppm", 415),
        ("covid-19 took 7 days", 7),
        ("1 234", 1234),
        ("12cm", 12),
        ("42 apples", "42 apple"),
        ("2.5 bn", 2500000000),
        (r"\frac{3}{4}", "3/4"),
        (r"It is $\frac{3}{4}$.", 0.75),
        ("5 (5.0)", 5),
        (r"\boxed{7}", r"\boxed{7}"),
        ("50\\%", 50),
        ("1" * 300, int("1" * 300)),
    ],
)
def test_the_number_of_an_answer_is_read(response: str, gold: object) -> None:
    verdict = judged(response, gold)
    assert verdict.score == 1.0, verdict


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("\u221a16", 16),
        (r"\sqrt{16}", 16),
        ("sqrt(16)", 16),
        ("log 5", 5),
        ("-(5)", 5),
        ("--5", 5),
        ("5!", 5),
        ("5\u03c0", 5),
        (r"5\pi", 5),
        ("5i", 5),
        ("5k", 5),
        ("3-5", 3),
        ("3\u20135", 3),
        ("\u20135", 5),
        ("5 = x", 5),
        ("x > 5", 5),
        (r"x \geq 5", 5),
        ("x^2 = 9", 9),
        ("10^3", 10),
        ("2^5", 2),
        ("5:30", 5),
        ("2024-01-05", 2024),
        ("12.05.2020", 12),
        ("1,234,56", 1234),
        ("12,34", 12),
        ("5 million", 5),
        ("\u00b15", 5),
        ("at least 5", 5),
        ("isn't 5", 5),
        ("neither 5 nor 6", 5),
        ("5 kg or so", 5),
        ("either 5", 5),
        ("42 EUR", "$42"),
        ("CO2", 2),
        ("x1", 1),
        ("12/4", 3),
        ("5*1", 5),
        ("5 + 0", 5),
        ("1e5000", 1),
        ("1" * 900, 1),
        ("five", 5),
        ("", 5),
        ("5 \u0000 6", 5),
    ],
)
def test_what_is_no_plain_number_gets_nothing(response: str, gold: object) -> None:
    assert judged(response, gold).score == 0.0


@pytest.mark.parametrize(
    ("response", "gold", "params", "score"),
    [
        ("0.66667", 0.6667, {}, 1.0),
        ("0.667", 0.6667, {}, 0.0),
        ("1000001", 1000000, {}, 0.0),
        ("1000001", 1000000, {"relative_tolerance": 1e-3}, 1.0),
        ("1.3", 1, {"absolute_tolerance": 0.3}, 1.0),
        ("1.31", 1, {"absolute_tolerance": 0.3}, 0.0),
        ("0.0001", 0, {"relative_tolerance": 0.5}, 0.0),
        ("-100", 100, {"relative_tolerance": 0.5}, 0.0),
        ("12%", "0.12", {"percent": "fraction"}, 1.0),
        ("12", "12%", {"percent": "fraction"}, 0.0),
        ("1.234,5", "1234,5", {"decimal_comma": True}, 1.0),
        ("1,234.5", "1234,5", {"decimal_comma": True}, 0.0),
        ("first 5, then 7", 7, {"on_many": "last"}, 1.0),
        ("first 5, then 7", 5, {"on_many": "last"}, 0.0),
    ],
)
def test_tolerances_and_policies(response: str, gold: object, params: dict[str, object], score: float) -> None:
    assert judged(response, gold, **params).score == score


@pytest.mark.parametrize("params", [{"relative_tolerance": -1}, {"absolute_tolerance": math.inf}, {"tolerance": 1}])
def test_tolerances_must_be_finite_and_not_negative(params: dict[str, object]) -> None:
    with pytest.raises(RewardError, match=r"number\.close"):
        close.validated(params)


def test_different_numbers_are_tagged_as_a_hedge() -> None:
    assert judged("5 and 7", 7).tags == ("hedged",)


def test_an_exponent_out_of_bounds_is_not_expanded() -> None:
    assert read_number("1e999999999").number is None
    assert read_number(r"2 \times 10^{999999999}").number is None


@pytest.mark.parametrize("gold", [18.5, "eighteen", "36/2", True, "#### ", None, [18], "1e400x"])
def test_final_integer_needs_an_integer_gold(gold: object) -> None:
    verdict = final_integer.judge(Sample(id="s", prompt="", response="18", gold=gold), params={})
    assert verdict.fault is Fault.GOLD


@pytest.mark.parametrize(
    ("response", "gold", "score"),
    [
        ("-18", "-18", 1.0),
        ("#### 1,800", "1800", 1.0),
        ("18 dollars", "18", 1.0),
        ("**Answer:** 18", 18.0, 1.0),
        ("18.0001", 18, 0.0),
        ("1.8e1", 18, 1.0),
        ("12 + 6 = 18", 18, 1.0),
        ("12 + 7 = 18", 18, 0.0),
        ("123_8", 123, 0.0),
        ("18 degrees below zero", 18, 0.0),
        (r"\boxed{17} \boxed{18}", 18, 0.0),
    ],
)
def test_final_integer_is_exact(response: str, gold: object, score: float) -> None:
    assert final_integer.judge(Sample(id="s", prompt="", response=response, gold=gold), params={}).score == score


def test_final_integer_reads_the_last_number_only_when_asked() -> None:
    sample = Sample(id="s", prompt="", response="12 then 18", gold=18)
    assert final_integer.judge(sample, params={"on_many": "last"}).score == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "I looked at 73 for a while, but I did not work it out, so I will not commit to an answer here.",
        "I have 7 apples. I refuse.",
        "I'm not sure, 7",
        "I don't know; 7?",
    ],
)
def test_a_refusal_names_no_number(text: str) -> None:
    assert read_number(text, on_many="last").number is None


@pytest.mark.parametrize("text", ["It cannot be negative, so it is 7.", "If x is 7, I get 7", "The 7th will not do: 7"])
def test_other_denials_in_the_sentence_are_no_refusal(text: str) -> None:
    found = read_number(text, on_many="last").number
    assert found is not None and found.value == 7
