r"""Compares two mathematical answers form by form, as parsed by `rewards.math_answers`.

A name may be left out or added: `x = 7` is 7. If both sides have names, these must be the same. Elements are compared
by value; a gold that is a single plain number must be met by one.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.math_answers import (
    Answer,
    Chain,
    Group,
    Interval,
    Listing,
    Matrix,
    Named,
    Region,
    Value,
    Words,
    as_region,
    read_answer,
)
from rewards.math_values import expression_difference, number_of, readable, value_difference
from rewards.math_words import is_word_gold, same_words
from rewards.plain_numbers import read_plain_number

_ROUNDED = 0.01
r"""Largest relative difference between the value after `\approx` and the value before it."""


def difference(answer: str, gold: str, *, evaluated: bool = True) -> str | None:
    """Why an answer is not the gold; None when it is. Both are in the spelling of `rewards.latex`.

    Args:
        answer: What a response says.
        gold: What is right.
        evaluated: Whether a gold that is a plain number must be met by one, and not by a computation.
    """
    if answer == gold:
        return None
    read, right = read_answer(answer), read_answer(gold)
    reason = _difference(read, right, answer, gold)
    if reason is None or evaluated:
        return reason
    match _without_name(read), _without_name(right):
        case Value(text), Value(gold_text):
            return expression_difference(text, gold_text)
        case _:
            return reason


def _without_name(answer: Answer) -> Answer:
    return answer.value if isinstance(answer, Named) else answer


def gold_is_readable(gold: str) -> bool:
    """Whether an answer can be compared with this gold, which is in the spelling of `rewards.latex`."""
    return _is_readable(read_answer(gold))


def _is_readable(gold: Answer) -> bool:
    match gold:
        case Value(text):
            return readable(text)
        case Words(text):
            return is_word_gold(text)
        case Named(_, value):
            return _is_readable(value)
        case Listing(items) | Group(_, _, items):
            return all(map(_is_readable, items))
        case Chain(sides, near):
            return all(map(readable, (*sides, *near)))
        case Region(intervals, points):
            return all(readable(end) for one in intervals for end in (one.low, one.high)) and all(map(readable, points))
        case Matrix(rows):
            return all(readable(cell) for row in rows for cell in row)


def _difference(answer: Answer, gold: Answer, written: str, gold_written: str) -> str | None:
    """Compare two parsed answers; `written` and `gold_written` are the whole texts, for comparisons of equations."""
    match answer, gold:
        case Named(name, value), Named(gold_name, gold_value):
            if not _same_name(name, gold_name):
                return _as_equations(written, gold_written) if isinstance(gold_value, Value) else "another name"
            return _difference(value, gold_value, written, gold_written)
        case Named(_, value), Listing():
            return _list_difference(_with_names(answer) or value, gold)
        case Listing(), Named() if (named := _with_names(gold)) is not None:
            return _list_difference(answer, named)
        case Named(), Chain():
            return _as_equations(written, gold_written)
        case Chain(), Named(_, Value(text)) if read_plain_number(text) is None:
            return _as_equations(written, gold_written)
        case Named(_, value), _:
            return _difference(value, gold, written, gold_written)
        case _, Named(_, gold_value):
            return _difference(answer, gold_value, written, gold_written)
        case _:
            return _nameless_difference(answer, gold, written, gold_written)


def _nameless_difference(answer: Answer, gold: Answer, written: str, gold_written: str) -> str | None:
    """Compare two answers without names."""
    match answer, gold:
        case (Listing(), Listing() | Group()) | (Group(), Listing()):
            return _list_difference(answer, gold)
        case Chain(), Chain():
            return _as_equations(written, gold_written)
        case Chain(), _:
            return _chain_difference(answer, gold)
        case _, Chain(sides):
            return _as_equations(written, gold_written) if len(sides) == 1 else "a value, where the gold is an equation"
        case Listing(items), _:
            return _alternatives_difference(items, gold)
        case _:
            return _single_difference(answer, gold, written, gold_written)


def _single_difference(answer: Answer, gold: Answer, written: str, gold_written: str) -> str | None:
    """Compare two answers that have no names and are not lists."""
    match answer, gold:
        case Value(text), Value(gold_text):
            return value_difference(text, gold_text, evaluated=True)
        case Words(text), Words(gold_text):
            return None if same_words(text, gold_text) else "other words"
        case (Value(text), Words(gold_text)) | (Words(text), Value(gold_text)):
            is_letter = len(gold_text.strip("()")) <= 1 or isinstance(gold, Words)
            return None if is_letter and same_words(text, gold_text) else "words in place of an expression"
        case Matrix(rows, kind), Matrix(gold_rows, gold_kind):
            return _matrix_difference(rows, gold_rows) if kind == gold_kind else "a matrix is no determinant"
        case (Matrix(rows), Group("(", ")", items)) | (Group("(", ")", items), Matrix(rows)):
            return _vector_difference(rows, items, answer_is_matrix=isinstance(answer, Matrix))
        case (Matrix(rows, False), Group("[", "]", items)) | (Group("[", "]", items), Matrix(rows, False)):
            return _nested_difference(rows, items)
        case Group(), Group() if not (_is_interval(answer) and _is_interval(gold)):
            return _group_difference(answer, gold)
        case (Group(_, _, (only,)), Value()) if answer.is_set:
            return _difference(only, gold, written, gold_written)
        case (Value(), Group(_, _, (only,))) if gold.is_set:
            return _difference(answer, only, written, gold_written)
        case _:
            one, other = as_region(answer), as_region(gold)
            if one is not None and other is not None:
                return _region_difference(one, other)
            if isinstance(answer, Value | Matrix) and isinstance(gold, Value | Matrix):
                return value_difference(written, gold_written, evaluated=True)
            return "another kind of answer"


def _as_equations(answer: str, gold: str) -> str | None:
    return value_difference(answer, gold, evaluated=False)


def _same_name(one: str, other: str) -> bool:
    """Whether two names are equal; `y` and `f(x)` both name the value of a function."""
    return one == other or ("y" in (one, other) and any(name.endswith("(x)") for name in (one, other)))


def _equal(answer: Answer, gold: Answer) -> bool:
    """Whether two elements are equal by value."""
    match answer, gold:
        case Value(text), Value(gold_text):
            return value_difference(text, gold_text, evaluated=False) is None
        case Named(name, value), Named(gold_name, gold_value):
            return name == gold_name and _equal(value, gold_value)
        case Named(_, value), _:
            return _equal(value, gold)
        case _, Named(_, value):
            return _equal(answer, value)
        case _:
            return _difference(answer, gold, "", " ") is None


def _in_order(answer: Sequence[Answer], gold: Sequence[Answer]) -> bool:
    return len(answer) == len(gold) and all(map(_equal, answer, gold))


def _in_any_order(answer: Sequence[Answer], gold: Sequence[Answer]) -> bool:
    """Whether each element of one set has an equal in the other; repeated elements count once."""
    return _all_within(answer, gold) and _all_within(gold, answer)


def _all_within(some: Sequence[Answer], others: Sequence[Answer]) -> bool:
    return all(any(_equal(one, other) for other in others) for one in some)


def _names(items: Sequence[Answer]) -> list[str]:
    return [item.name for item in items if isinstance(item, Named)]


def _with_names(answer: Answer) -> Listing | None:
    """Rewrite `(x, y) = (1, 2)` as `x = 1, y = 2`; None if the answer does not have that form."""
    match answer:
        case Named(name, Group("(", ")", items)) if name.startswith("("):
            names = name.strip("()").split(",")
            if len(names) == len(items):
                return Listing(tuple(map(Named, names, items)))
            return None
        case _:
            return None


def _list_difference(answer: Answer, gold: Answer) -> str | None:
    """Compare two answers with several values, at least one of them without brackets."""
    match answer, gold:
        case Listing(items) | Group(_, _, items), Listing(gold_items) | Group(_, _, gold_items):
            names, gold_names = _names(items), _names(gold_items)
        case _:
            return "another kind of answer"
    if len(set(gold_names)) > 1:
        return _named_difference(answer, items, gold_items)
    if len(set(names)) > 1:
        # If the gold has no names, the answer's named values are taken in the order of their names.
        ordered = sorted(items, key=lambda item: item.name if isinstance(item, Named) else "")
        return None if _in_order(ordered, gold_items) or _in_order(items, gold_items) else "other values"
    if set(names) and set(gold_names) and set(names) != set(gold_names):
        return "another name"
    if "[" in _written_brackets(answer) + _written_brackets(gold):
        return "an interval is no list"
    ordered_pair = "(" in _written_brackets(answer) + _written_brackets(gold)
    equal = _in_order(items, gold_items) if ordered_pair else _in_any_order(items, gold_items)
    return None if equal else "other values"


def _written_brackets(answer: Answer) -> str:
    """The brackets of a group: `(` implies an order, and `[` an end that belongs to an interval."""
    match answer:
        case Group(opening, closing):
            return opening + closing.replace("]", "[")
        case _:
            return ""


def _named_difference(answer: Answer, items: Sequence[Answer], gold_items: Sequence[Answer]) -> str | None:
    """Compare with a gold such as `x = 1, y = 2`, by name, or in its order if the answer has no names."""
    if not _names(items):
        is_set = isinstance(answer, Group) and answer.is_set
        return "other values" if is_set or not _in_order(items, gold_items) else None
    by_name = {item.name: item for item in gold_items if isinstance(item, Named)}
    same = len(items) == len(gold_items) and all(
        isinstance(item, Named) and item.name in by_name and _equal(item, by_name[item.name]) for item in items
    )
    return None if same and len(_names(items)) == len(set(_names(items))) else "other values"


def _alternatives_difference(items: Sequence[Answer], gold: Answer) -> str | None:
    """Compare several values with a gold that is a single one: all must equal it."""
    reasons = [_difference(item, gold, "", " ") for item in items]
    return "several answers" if any(reasons) else None


def _chain_difference(answer: Chain, gold: Answer) -> str | None:
    """Compare `3/4 = 0.75` with a gold: every side must equal it, and one side must be right on its own."""
    sides = [read_answer(side) for side in answer.sides]
    if all(_difference(side, gold, "", " ") for side in sides):
        return "a relation, which the gold is not" if len(sides) > 1 else "another value"
    if not all(_equal(side, gold) for side in sides):
        return "sides that are not equal"
    near = all(_is_rounded(rounded, answer.sides[-1]) for rounded in answer.near)
    return None if near else "sides that are not near"


def _is_rounded(rounded: str, exact: str) -> bool:
    one, other = number_of(rounded), number_of(exact)
    return one is not None and other is not None and abs(one - other) <= _ROUNDED * abs(other)


def _group_difference(answer: Group, gold: Group) -> str | None:
    if answer.is_set != gold.is_set or (not gold.is_set and _brackets(answer) != _brackets(gold)):
        return "other brackets"
    same = _in_any_order if gold.is_set else _in_order
    return None if same(answer.items, gold.items) else "other values"


def _brackets(group: Group) -> str:
    return group.opening + group.closing


def _is_interval(group: Answer) -> bool:
    """Whether a pair in brackets can only be an interval."""
    match group:
        case Group(opening, closing, (Value(low), Value(high))):
            return opening + closing in ("[)", "(]") or r"\infty" in low + high
        case _:
            return False


def _matrix_difference(rows: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> str | None:
    if [len(row) for row in rows] != [len(row) for row in gold]:
        return "a matrix of another shape"
    cells = zip((cell for row in rows for cell in row), (cell for row in gold for cell in row), strict=True)
    is_equal = all(value_difference(one, other, evaluated=False) is None for one, other in cells)
    return None if is_equal else "another matrix"


def _vector_difference(rows: Sequence[Sequence[str]], items: Sequence[Answer], *, answer_is_matrix: bool) -> str | None:
    """Compare a column or a row with the same vector in parentheses."""
    cells = [cell for row in rows for cell in row]
    if len(rows) != 1 and len(rows[0]) != 1:
        return "another kind of answer"
    vector = [read_answer(cell) for cell in cells]
    pair = (vector, items) if answer_is_matrix else (items, vector)
    return None if _in_order(*pair) else "another vector"


def _nested_difference(rows: Sequence[Sequence[str]], items: Sequence[Answer]) -> str | None:
    """Compare a matrix with rows in brackets, `[[1, 2], [3, 4]]`."""
    inner = [item.items for item in items if isinstance(item, Group) and _brackets(item) == "[]"]
    if len(inner) != len(items) or len(inner) != len(rows):
        return "another kind of answer"
    same = all(_in_order([read_answer(cell) for cell in row], given) for row, given in zip(rows, inner, strict=True))
    return None if same else "another matrix"


def _region_difference(answer: Region, gold: Region) -> str | None:
    if answer.name and gold.name and answer.name != gold.name:
        return "another name"
    counts = len(answer.intervals) == len(gold.intervals)
    if not counts or not all(any(_same_interval(a, g) for a in answer.intervals) for g in gold.intervals):
        return "another interval"
    points = _in_any_order([Value(one) for one in answer.points], [Value(one) for one in gold.points])
    return None if points else "other values"


def _same_interval(answer: Interval, gold: Interval) -> bool:
    ends = _same_end(answer.low, gold.low) and _same_end(answer.high, gold.high)
    return ends and (answer.has_low, answer.has_high) == (gold.has_low, gold.has_high)


def _same_end(answer: str, gold: str) -> bool:
    one, other = (end.removeprefix("+").replace(" ", "") for end in (answer, gold))
    if r"\infty" in one + other:
        return one == other
    if read_plain_number(one) is None and read_plain_number(other) is not None and one.isalpha():
        return False
    return value_difference(one, other, evaluated=False) is None
