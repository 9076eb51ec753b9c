"""Worked solutions are true, line by line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpost.data.worked_solutions import column_steps
from rlpost.errors import DataError
from rlpost.records import Example, Message

NUMBERS = st.integers(min_value=0, max_value=10**9)


def asked(text: str) -> Example:
    return Example(id="s/0", dataset="s", messages=(Message(role="user", content=text),))


def signed_sum(expression: str) -> int:
    negated = re.fullmatch(r"-\((\d+)-(\d+)\)", expression)
    if negated:
        return -(int(negated[1]) - int(negated[2]))
    assert re.fullmatch(r"\d+([+-]\d+)*", expression)
    return sum(int(term) for term in re.findall(r"[+-]?\d+", expression))


@pytest.mark.parametrize(
    ("question", "solution"),
    [
        ("47 + 38", r"7+8=15;4+3+1=8;\boxed{85}"),
        ("What is 99 + 1?", r"9+1=10;9+0+1=10;\boxed{100}"),
        ("42 - 25 =", r"12-5=7;4-2-1=1;\boxed{17}"),
        ("23 - 60 =", r"-(60-23);10-3=7;6-2-1=3;\boxed{-37}"),
        ("Compute 60 - 57.", r"10-7=3;6-5-1=0;\boxed{3}"),
        ("5 - 5", r"5-5=0;\boxed{0}"),
    ],
)
def test_known_problems(question: str, solution: str) -> None:
    assert column_steps(asked(question)) == solution


@given(NUMBERS, st.sampled_from("+-"), NUMBERS)
def test_every_step_is_true_and_the_digits_read_upwards_are_the_answer(left: int, operator: str, right: int) -> None:
    answer = left + right if operator == "+" else left - right
    *steps, boxed = column_steps(asked(f"{left} {operator} {right} =")).split(";")
    assert boxed == f"\\boxed{{{answer}}}"
    columns = [step for step in steps if "=" in step]
    results = [step.split("=")[1] for step in columns]
    assert all(signed_sum(step.split("=")[0]) == int(result) for step, result in zip(columns, results, strict=True))
    assert all(signed_sum(step) == answer for step in steps if "=" not in step)
    leading = results[-1][:-1]
    assert int(leading + "".join(reversed([result[-1] for result in results]))) == abs(answer)


def test_the_expression_of_a_generated_row_is_read_in_place_of_its_wording() -> None:
    meta = {"reasoning_gym": {"task": "chain_sum", "entry": {"metadata": {"expression": "1 + 2"}}}}
    messages = (Message(role="user", content="In 30 words: 1 + 2?"),)
    example = Example(id="s/0", dataset="s", messages=messages, meta=meta)
    assert column_steps(example) == r"1+2=3;\boxed{3}"


@pytest.mark.parametrize("question", ["1 + 2 + 3", "-1 + 2", "1.5 + 2", "2 * 3", "seven", "12", ""])
def test_other_problems_are_refused(question: str) -> None:
    with pytest.raises(DataError, match="row s/0"):
        column_steps(asked(question))
