"""Worked solutions for demonstrations; a recipe names them in `data.<name>.solution`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from rlpost.errors import DataError
from rlpost.records import Example


class _Problem(NamedTuple):
    left: int
    operator: str
    right: int


def column_steps(example: Example) -> str:
    r"""Write column addition or subtraction of two non-negative integers, digit by digit from the right, then the
    answer.

    Every column is one equation; from the second column on, the carry or borrow is written even if it is 0, so that
    columns of all problems look alike. A carry shows as a result of 10 or more, a borrow as a left digit of 10 or more.

    | problem | solution |
    |---|---|
    | `47 + 38` | `7+8=15;4+3+1=8;\boxed{85}` |
    | `42 - 25` | `12-5=7;4-2-1=1;\boxed{17}` |
    | `23 - 60` | `-(60-23);10-3=7;6-2-1=3;\boxed{-37}` |

    The numbers are read from the expression of reasoning-gym's `chain_sum`, or from the last user turn.

    Raises:
        DataError: the row is not the sum or difference of two non-negative integers.
    """
    left, operator, right = _problem_of(example)
    if operator == "+":
        return _joined(_addition_columns(left, right), left + right)
    if left >= right:
        return _joined(_subtraction_columns(left, right), left - right)
    return _joined([f"-({right}-{left})", *_subtraction_columns(right, left)], left - right)


def boxed_answer(example: Example) -> str:
    r"""Write only the answer, `\\boxed{85}`: a demonstration without its work.

    Raises:
        DataError: the row has no reference answer.
    """
    if example.gold is None:
        raise DataError(f"{example.id} must have a reference answer; set data.{example.dataset}.columns.gold")
    return f"\\boxed{{{example.gold}}}"


def _joined(steps: list[str], answer: int) -> str:
    return ";".join([*steps, f"\\boxed{{{answer}}}"])


def _addition_columns(left: int, right: int) -> list[str]:
    steps: list[str] = []
    carry = 0
    for column, (upper, lower) in enumerate(_digit_columns(left, right)):
        total = upper + lower + carry
        steps.append(f"{upper}+{lower}={total}" if column == 0 else f"{upper}+{lower}+{carry}={total}")
        carry = total // 10
    return steps


def _subtraction_columns(left: int, right: int) -> list[str]:
    assert left >= right, "columns of a difference need the larger number first"
    steps: list[str] = []
    borrow = 0
    for column, (upper, lower) in enumerate(_digit_columns(left, right)):
        next_borrow = int(upper - lower - borrow < 0)
        lent = upper + 10 * next_borrow
        difference = lent - lower - borrow
        steps.append(f"{lent}-{lower}={difference}" if column == 0 else f"{lent}-{lower}-{borrow}={difference}")
        borrow = next_borrow
    return steps


def _digit_columns(left: int, right: int) -> list[tuple[int, int]]:
    width = max(len(str(left)), len(str(right)))
    upper_digits, lower_digits = (reversed(f"{number:0{width}}") for number in (left, right))
    return [(int(upper), int(lower)) for upper, lower in zip(upper_digits, lower_digits, strict=True)]


def _problem_of(example: Example) -> _Problem:
    text = _expression_of(example)
    match re.findall(r"\d+(?:\.\d+)?|[-+*/^]", text):
        case [left, ("+" | "-") as operator, right] if left.isdigit() and right.isdigit():
            return _Problem(int(left), operator, int(right))
        case _:
            raise DataError(
                f"column_steps needs a sum or difference of two non-negative integers; row {example.id} has {text!r}: "
                "set params min_terms and max_terms to 2 and leave out `solution` for other tasks"
            )


def _expression_of(example: Example) -> str:
    generated = example.meta.get("reasoning_gym")
    if isinstance(generated, Mapping):
        metadata = cast("Mapping[str, Any]", generated)["entry"]["metadata"]
        return str(metadata.get("expression", ""))
    return example.question
