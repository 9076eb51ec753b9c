from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.math import equivalent
from rlpost.records import Fault, Sample, Verdict


def judge(response: str, gold: object, **params: Any) -> Verdict:
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    return equivalent.judge(sample, params=equivalent.validated(params))


def boxed(answer: str, gold: object) -> Verdict:
    return judge(rf"\boxed{{{answer}}}", gold)


# What math-verify 0.9.0 on its own accepts or rejects wrongly, or never finishes; measured in the field study.
@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("7", "5=7"),
        ("7", "x=5=7"),
        ("4", "2+2"),
        ("5050", r"\sum_{k=1}^{100} k"),
        ("1/3", r"\int_0^1 x^2 dx"),
        ("7", r"\binom{8}{1}-1"),
        ("7", r"7+0\cdot x"),
        ("0.1", r"10\%"),
        (r"10\text{ cm}", r"10\text{ kg}"),
        ("10 cm", "10 kg"),
        (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
        (r"\frac{1}{902!}", r"\frac{1}{900!}"),
        ("1/3", "0.333"),
        ("0.333", "1/3"),
        ("7", "9^{9^9}"),
        ("7", "10^{10^9}"),
        ("7", "(10^8)!"),
        ("7", "1000000!"),
        ("7", "{" * 3000 + "7" + "}" * 3000),
        ("7", r"\frac{1}{" * 200 + "7" + "}" * 200),
        (r"\sqrt2", "9^{9^9}"),
        (r"\sqrt2", "9^9^9"),
        (r"\sqrt2", "10^{10^9}"),
        (r"\sqrt2", "2^{999999999}"),
        (r"\sqrt2", "(10^8)!"),
        (r"\sqrt2", "1000000!"),
        (r"\sqrt2", r"\frac{1}{" * 200 + "7" + "}" * 200),
        (r"\sqrt2", "+".join(rf"\sin {k}" for k in range(1, 40))),
        ("3x-y+13=0", "3x+4y+14=0"),
        ("(1,2)", "(2,1)"),
        ("7", "I have 7 apples. I refuse."),
        ("7", r"7\text{ or }5"),
        ("3", "12/4"),
        ("100", "10^2"),
        ("2", r"\sqrt{4}"),
        ("x=7", "x=5+2"),
        (r"\pi", "3.14159"),
        ("52", "5\u00b2"),
        ("1", "7^{7^{7^{7}}}"),
        (r"\sqrt2", "listen"),
    ],
)
def test_an_answer_that_is_not_the_gold_gets_nothing(gold: str, answer: str) -> None:
    verdict = boxed(answer, gold)
    assert (verdict.score, verdict.fault) == (0.0, None), verdict


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("7", "7"),
        (7, "7"),
        (0.5, "1/2"),
        (1e-05, "0.00001"),
        ("1e3", "1000"),
        ("7", "+7.0"),
        ("7", "007"),
        ("7", "\uff17"),
        ("7", "\u0667"),
        ("12", "1\u200b2"),
        ("-3", "\u22123"),
        ("0.5", "\u00bd"),
        ("1234", "1,234"),
        ("1234", r"1\,234"),
        ("1234", "1{,}234"),
        ("1/2", r"\frac12"),
        (r"\frac{1}{2}", "0.5"),
        (r"\dfrac{1}{2}", "1/2"),
        ("-1/2", r"\frac{-1}{2}"),
        ("7/2", r"3\frac{1}{2}"),
        ("0.25", r"2.5 \times 10^{-1}"),
        ("10", r"10\%"),
        (r"10\%", "10"),
        ("10", r"10\text{ cm}"),
        (r"10\text{ cm}", "10"),
        ("10 cm", r"10\text{cm}"),
        ("90", r"90^\circ"),
        ("5", r"\$5"),
        ("7", "$7$"),
        (r"\boxed{7}", "7"),
        ("x=7", "7"),
        ("x = 7", "x=7"),
        (r"\sqrt{2}+1", r"1+\sqrt2"),
        (r"5\sqrt{3}", r"\sqrt{75}"),
        (r"\frac{\sqrt3}{2}", r"\dfrac{\sqrt{3}}{2}\text{ cm}"),
        ("x^2+1", "1+x**2"),
        (r"\{1,2\}", r"\{2,1\}"),
        ("(1,2)", r"\left(1, 2\right)"),
        ("[0,1)", r"x \in [0,1)".removeprefix(r"x \in ")),
        ("x>2", "x > 2"),
        (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
        ("2^{2023}", "2^{2023}"),
        ("n!", "n!"),
        ("e^{x^2}", r"\exp(x^2)"),
        (r"\frac{1}{2006!}", r"\frac{1}{2006!}"),
        (r"\infty", r"\infty"),
        (r"\sum_{k=1}^n k", r"\sum_{k=1}^{n} k"),
    ],
)
def test_an_answer_that_is_the_gold_gets_all(gold: object, answer: str) -> None:
    verdict = boxed(answer, gold)
    assert (verdict.score, verdict.fault) == (1.0, None), verdict


@pytest.mark.parametrize("gold", ["", "  ", None, [], {"a": 1}, True, r"\frac{", "@@@", "#### 7", "word " * 30, "$$"])
def test_a_gold_that_cannot_be_read_is_a_gold_fault_for_every_answer(gold: object) -> None:
    for response in (r"\boxed{7}", "no answer"):
        verdict = judge(response, gold)
        assert (verdict.fault, verdict.score) == (Fault.GOLD, None), verdict


@pytest.mark.parametrize(
    ("response", "params", "score", "tags"),
    [
        (r"\boxed{5} then \boxed{7}", {}, 0.0, ("hedged",)),
        (r"\boxed{5} then \boxed{7}", {"on_many": "last"}, 1.0, ()),
        (r"\boxed{7}, again \boxed{ 7 }", {}, 1.0, ()),
        (r"\boxed{\boxed{7}}", {}, 1.0, ()),
        (r"\boxed{7", {}, 0.0, ("truncated",)),
        (r"\boxed{7} or \boxed{", {}, 0.0, ("truncated",)),
        ("7", {}, 0.0, ("no_answer",)),
        ("7", {"where": "auto"}, 1.0, ()),
        ("3 + 4\n\nThe final answer is: **7**.\n", {"where": "final_line"}, 1.0, ()),
        ("so #### 8\n#### 7", {"where": "final_line"}, 1.0, ()),
        ("I have 7 apples. I refuse.", {"where": "final_line"}, 0.0, ()),
        (r"<think>\boxed{5}</think>\boxed{7}", {}, 1.0, ()),
        (r"<think>\boxed{7}</think>", {}, 0.0, ("no_answer",)),
    ],
)
def test_where_the_answer_is_read(response: str, params: dict[str, Any], score: float, tags: tuple[str, ...]) -> None:
    verdict = judge(response, "7", **params)
    assert (verdict.score, verdict.tags) == (score, tags), verdict


def test_a_response_that_was_cut_off_says_so() -> None:
    verdict = equivalent.judge(Sample(id="s", prompt="", response="so", gold="7", finish="length"), params={})
    assert verdict.tags == ("no_answer", "truncated")


@given(st.integers(), st.integers())
def test_integers_are_equal_when_they_are_the_same(gold: int, answer: int) -> None:
    assert boxed(str(answer), str(gold)).score == float(answer == gold)
    assert boxed(f"{gold:,}", str(gold)).score == 1.0


@given(st.fractions(), st.fractions())
def test_fractions_are_compared_exactly(gold: Fraction, answer: Fraction) -> None:
    written = rf"\frac{{{answer.numerator}}}{{{answer.denominator}}}"
    barred_integer = gold.denominator == 1
    assert boxed(written, str(gold)).score == float(answer == gold and not barred_integer)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["+", "-", r"\cdot", r"\times", "*", "^"]))
def test_a_computation_is_never_the_number_it_comes_to(left: int, right: int, sign: str) -> None:
    for gold in (left + right, left - right, left * right, left, right):
        assert boxed(f"{left}{sign}{right}", str(gold)).score == 0.0


@given(st.text(max_size=200))
def test_any_text_gets_a_verdict_of_zero_or_one(text: str) -> None:
    assert boxed(text, "7").score in (0.0, 1.0)


@pytest.mark.parametrize(
    ("answer", "gold"), [("28 percent", r"28\%"), (r"28\%", "28 percent"), (r"28\text{ percent}", "28%")]
)
def test_percent_is_the_percent_sign(answer: str, gold: str) -> None:
    sample = Sample(id="s", prompt="", response=rf"\boxed{{{answer}}}", gold=gold)
    assert equivalent.judge(sample, params=equivalent.validated({})).score == 1.0


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("2+2", "4", 1.0),
        (r"\frac{12}{4}", "3", 1.0),
        (r"x = \sqrt{4}", "2", 1.0),
        (r"\binom{8}{1}-1", "7", 1.0),
        ("2+3", "4", 0.0),
        ("5=7", "7", 0.0),
        ("4 or 5", "4", 0.0),
    ],
)
def test_a_computation_is_paid_only_where_the_recipe_says_so(answer: str, gold: str, score: float) -> None:
    assert judge(rf"\boxed{{{answer}}}", gold, unevaluated="accept").score == score
    assert judge(rf"\boxed{{{answer}}}", gold).score == 0.0
