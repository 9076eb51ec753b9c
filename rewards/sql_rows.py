"""Compares two query results as plain data, without calling any model-written code."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice, permutations
from typing import NamedTuple

Cell = None | int | float | str | bytes
Row = tuple[Cell, ...]
_MOST_PAIRED = 500
"""Largest number of rows differing only in numbers that are paired by trial; more rows are paired in sorted order."""
_MOST_ORDERS = 720


class Tolerance(NamedTuple):
    """Largest distance of two numbers that count as equal, the larger of both limits; whole numbers must be equal."""

    relative: float
    absolute: float


def plain_cell(value: object) -> Cell:
    """Convert a value of any database driver to NULL, number, text or bytes; whole floats and decimals become
    integers.
    """
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, int | str | bytes):
        return value
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return int(value) if value.is_integer() else value
    return str(value)


def difference(
    answer: Sequence[Row], gold: Sequence[Row], *, ordered: bool, column_order: bool, tolerance: Tolerance
) -> str | None:
    """Say how the answer differs from the gold; None if it does not.

    Args:
        answer: Rows of equal width, which is also the width of the gold's rows.
        gold: The reference rows; duplicates count.
        ordered: Whether the order of rows counts.
        column_order: Whether the order of columns counts.
        tolerance: Tolerance for two numbers, unless both are whole.
    """
    if len(answer) != len(gold):
        return "another number of rows"
    if not gold:
        return None
    if len(answer[0]) != len(gold[0]):
        return f"{len(answer[0])} columns, not {len(gold[0])}"
    orders = [tuple(range(len(gold[0])))] if column_order else islice(permutations(range(len(gold[0]))), _MOST_ORDERS)
    for order in orders:
        rows = [tuple(row[index] for index in order) for row in answer]
        if _same(rows, gold, ordered=ordered, tolerance=tolerance):
            return None
    if ordered and _same(answer, gold, ordered=False, tolerance=tolerance):
        return "another order of rows"
    return "other rows"


def _same(answer: Sequence[Row], gold: Sequence[Row], *, ordered: bool, tolerance: Tolerance) -> bool:
    if ordered:
        return all(_near_rows(one, other, tolerance) for one, other in zip(answer, gold, strict=True))
    only_answer, only_gold = Counter(answer), Counter(gold)
    only_answer, only_gold = only_answer - only_gold, only_gold - only_answer
    left, right = _by_shape(only_answer.elements()), _by_shape(only_gold.elements())
    return left.keys() == right.keys() and all(_paired(left[key], right[key], tolerance) for key in left)


def _by_shape(rows: Iterable[Row]) -> dict[Row, list[Row]]:
    """Group rows by all cells except their numbers, which may differ slightly."""
    groups: dict[Row, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(b"number" if _is_number(cell) else cell for cell in row)].append(row)
    return groups


def _paired(answer: list[Row], gold: list[Row], tolerance: Tolerance) -> bool:
    """Whether each row of a group can be paired with a near row of its own."""
    if len(answer) != len(gold):
        return False
    answer, gold = sorted(answer, key=_numbers), sorted(gold, key=_numbers)
    if len(answer) > _MOST_PAIRED:
        return all(_near_rows(one, other, tolerance) for one, other in zip(answer, gold, strict=True))
    for row in gold:
        found = next((index for index, other in enumerate(answer) if _near_rows(other, row, tolerance)), None)
        if found is None:
            return False
        del answer[found]
    return True


def _numbers(row: Row) -> tuple[int | float, ...]:
    return tuple(cell for cell in row if isinstance(cell, int | float))


def _near_rows(answer: Row, gold: Row, tolerance: Tolerance) -> bool:
    return all(_near(one, other, tolerance) for one, other in zip(answer, gold, strict=True))


def _near(answer: Cell, gold: Cell, tolerance: Tolerance) -> bool:
    if answer == gold:
        return True
    if not isinstance(answer, int | float) or not isinstance(gold, int | float):
        return False
    if isinstance(answer, int) and isinstance(gold, int):
        return False
    try:
        return math.isclose(answer, gold, rel_tol=tolerance.relative, abs_tol=tolerance.absolute)
    except OverflowError:
        return False


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float)
