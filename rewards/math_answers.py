r"""Parses the form of a mathematical answer: a value, a named value, a list, a tuple, a set, a matrix, an interval,
words.

`read_answer` recognises the form, so that values can be compared one by one: elements of a matrix by position, elements
of a set in any order, ends of intervals with their inclusion. `rewards.math_values` compares the values themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from rewards.latex_spellings import AND, OR
from rewards.math_words import is_words
from rewards.plain_numbers import read_plain_number

MOST_ITEMS = 64
Answer: TypeAlias = "Value | Words | Named | Chain | Listing | Group | Region | Matrix"


@dataclass(frozen=True, slots=True)
class Value:
    """An expression or a number, in the spelling of `rewards.latex`."""

    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """Words, which are compared as words."""

    text: str


@dataclass(frozen=True, slots=True)
class Named:
    """`x = 7`: a value and its name, which is written without spaces."""

    name: str
    value: Answer


@dataclass(frozen=True, slots=True)
class Chain:
    r"""`\frac{3}{4} = 0.75`: values that are said to be equal; the last ones may be only approximately equal."""

    sides: tuple[str, ...]
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """`1, 2` or `1 or 2`, without brackets."""

    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Group:
    r"""`(1, 2)`, `[0, 1)`, `\{1, 2\}`: the brackets as written, and the content between them."""

    opening: str
    closing: str
    items: tuple[Answer, ...]

    @property
    def is_set(self) -> bool:
        """Whether the order of the elements is irrelevant."""
        return self.opening == r"\{"


@dataclass(frozen=True, slots=True)
class Interval:
    r"""All numbers between two ends; `-\infty` and `\infty` are never included."""

    low: str
    high: str
    has_low: bool
    has_high: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals and single numbers, with the name of its variable if there is one."""

    intervals: tuple[Interval, ...]
    points: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of cells; a determinant is different from a matrix."""

    rows: tuple[tuple[str, ...], ...]
    is_determinant: bool = False


_OPEN, _CLOSE = ("(", "[", "{", r"\{", r"\langle"), (")", "]", "}", r"\}", r"\rangle")
_PIECE = re.compile(r"\\begin\{[^}]*\}|\\end\{[^}]*\}|\\\\|\\[A-Za-z]+|\\.|[()\[\]{}]|<=|>=|!=|.", re.DOTALL)
_RELATIONS = {"=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!="} | {
    r"\leq": "<=", r"\geq": ">=", r"\neq": "!=", r"\in": "in", r"\approx": "~",
}  # fmt: skip
_SUBSCRIPT = r"(?:_(?:\w|\{[^{}]{1,20}\}))?'{0,2}"
_GREEK = r"\\(?:alpha|beta|gamma|delta|theta|phi|lambda|mu|omega|rho|sigma|epsilon|ell|tau|psi|Delta)\s*"
_SYMBOL = rf"(?:[A-Za-z]|{_GREEK}){_SUBSCRIPT}"
_ARGUMENT = r"\((?:[^()]|\([^()]*\)){1,30}\)"
_NAME = re.compile(
    rf"(?:{_SYMBOL}(?:\^\{{-1\}}|\^-1)?(?:{_ARGUMENT})?"
    r"|(?:m\s*)?\\(?:angle|triangle|measuredangle)\s*[A-Z]{1,3}|\|?(?:\\overline\{)?[A-Z]{2,4}\}?\|?|\[[A-Z]{3,5}\]"
    rf"|\\(?:sin|cos|tan|cot|sec|csc|det)\s*(?:{_ARGUMENT}|\\angle\s*[A-Z]+|{_SYMBOL})"
    rf"|\\frac\{{d[a-z]?\}}\{{d[a-z]\}}|[a-z]'{{1,2}}(?:{_ARGUMENT})?"
    rf"|\\text\{{[A-Za-z][A-Za-z ]{{0,40}}\}}(?:\s*\(.{{1,20}}\))?|\({_SYMBOL}(?:,\s*{_SYMBOL}){{1,5}}\)"
    r"|[A-Za-z]{2,}(?:\s[A-Za-z]{2,}){0,4})"
)
_ASSIGNED = re.compile(rf"(?P<name>{_SYMBOL})\s*=\s*(?P<value>[^=]+)")
_SAID = re.compile(
    r"(?:\\text\{[^{}]*\}\s*[A-Za-z]?\s*){0,2}"
    r"\\text\{(?!(?:[^{}]*\s)?not\b)(?:[^{}]*\s)?(?:is|are|equals)[ :]*\}\s*(?P<rest>\S.*)",
    re.DOTALL,
)
_VARIABLE = re.compile(rf"{_SYMBOL}|f\([a-z]\)")
_MATRIX = re.compile(
    r"(?P<before>.*?)(?:\(|\[)?\\begin\{(?P<kind>[pbvBV]?(?:small)?matrix|array)\}(?P<body>.*?)\\end\{(?P=kind)\}(?:\)|\])?"
    r"(?P<transposed>\s*\^\s*\{?\s*(?:T|\\top|\\mathsf\{T\}|\\intercal)\s*\}?)?",
    re.DOTALL,
)
_CASES = re.compile(
    r"(?:\\\{)?\\begin\{(cases|aligned|align\*?|array|gathered|split)\}(?P<body>.*)\\end\{\1\}(?:\\\})?", re.DOTALL
)
_ALL_REALS = re.compile(r"\\mathbb\{?\s*R\s*\}?|(?:\\text\{)?(?:all )?(?:the )?(?:real numbers|reals)\}?")
_SET_BUILDER = re.compile(
    r"\\\{\s*(?P<name>[a-z])\s*(?:\\in\s*\\mathbb\{?R\}?\s*)?(?:\||:)\s*(?P<rule>.*)\\\}", re.DOTALL
)
_TRAILING_REALS = re.compile(rf"[,{AND}]\s*[a-z]\s*\\in\s*\\mathbb\{{?[RZN]\}}?$")
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
_EVERYTHING = Interval(r"-\infty", r"\infty", False, False)


@lru_cache(maxsize=4096)
def read_answer(text: str) -> Answer:
    """Parse the form of an answer in the spelling of `rewards.latex`."""
    text = text.strip().removesuffix(",").strip()
    if read_plain_number(text) is not None:
        return Value(text)
    said = _SAID.fullmatch(text)
    if said is not None:
        return read_answer(said["rest"])
    assigned = _ASSIGNED.fullmatch(text)
    if assigned is not None and read_plain_number(assigned["value"]) is not None:
        # Before a comma divides it: `x = 11,000` is one number.
        return Named(_name(assigned["name"]), Value(assigned["value"]))
    cases = _CASES.fullmatch(text)
    if cases is not None and ("&" not in text or cases[1] != "array") and any(sign in text for sign in "=<>"):
        lines = [line.replace("&", " ").strip(" ,;") for line in split_at(cases["body"], (r"\\",))]
        return _listing([line for line in lines if line], text)
    text = _TRAILING_REALS.sub("", text)
    items = [item for item in split_at(text, (",", ";", OR, AND)) if item.strip()]
    if 1 < len(items) <= MOST_ITEMS:
        return _listing(items, text)
    return _single(items[0] if len(items) == 1 else text)


def split_at(text: str, marks: tuple[str, ...]) -> list[str]:
    """Split a text at marks that are outside all brackets."""
    pieces, start = list[str](), 0
    for position, mark in _outside(text):
        if mark in marks:
            pieces.append(text[start:position].strip())
            start = position + len(mark)
    return [*pieces, text[start:].strip()]


def relation_signs(text: str) -> list[str]:
    """Return the relation signs outside all brackets, in the spelling `<=`, `!=`, `in`, `~`."""
    return [_RELATIONS[mark] for _, mark in _outside(text) if mark in _RELATIONS]


def as_region(answer: Answer) -> Region | None:
    """Convert an interval, a union or an inequality to a region; None if the answer is none of these."""
    match answer:
        case Region():
            return answer
        case Group(opening, closing, (Value(low), Value(high))) if (
            not answer.is_set and opening in "([" and closing in ")]"
        ):
            return Region((Interval(low, high, opening == "[", closing == "]"),))
        case Group(r"\{", _, items):
            points = tuple(item.text for item in items if isinstance(item, Value))
            return Region((), points) if len(points) == len(items) else None
        case Named(name, Region() | Group()):
            inside = as_region(answer.value)
            return None if inside is None else Region(inside.intervals, inside.points, name)
        case _:
            return None


def _outside(text: str) -> Iterator[tuple[int, str]]:
    depth = 0
    for piece in _PIECE.finditer(text):
        mark = piece[0]
        if mark in _OPEN or mark.startswith(r"\begin"):
            depth += 1
        elif mark in _CLOSE or mark.startswith(r"\end"):
            depth -= 1
        elif depth <= 0:
            yield piece.start(), mark


def _listing(items: list[str], text: str) -> Answer:
    read: list[Answer] = []
    for item in items:
        one = _single(item)
        before = read[-1] if read else None
        if isinstance(before, Named) and isinstance(one, Value):
            # In `x = 1, 2`, the name applies to both values.
            one = Named(before.name, one)
        read.append(one)
    if any(isinstance(one, Region) for one in read):
        return _combined(read, is_union=OR in text) or Value(text)
    flat = [part for one in read for part in (one.items if isinstance(one, Listing) else (one,))]
    return Listing(tuple(flat))


def _combined(parts: list[Answer], *, is_union: bool) -> Region | None:
    """Combine inequalities that are joined by `or`, or two that hold at once."""
    regions = [_part_of_union(part) for part in parts]
    found = [region for region in regions if region is not None]
    if len(found) != len(parts) or len({region.name for region in found if region.name}) > 1:
        return None
    name = next((region.name for region in found if region.name), "")
    if is_union:
        intervals = tuple(one for region in found for one in region.intervals)
        return Region(intervals, tuple(one for region in found for one in region.points), name)
    if len(found) != 2 or any(len(region.intervals) != 1 or region.points for region in found):
        return None
    (one,), (other,) = found[0].intervals, found[1].intervals
    if one.low == r"-\infty" and other.high == r"\infty":
        one, other = other, one
    if one.high != r"\infty" or other.low != r"-\infty":
        return None
    return Region((Interval(one.low, other.high, one.has_low, other.has_high),), (), name)


def _part_of_union(part: Answer) -> Region | None:
    match part:
        case Named(name, Value(text)):
            return Region((), (text,), name)
        case _:
            return as_region(part)


def _single(text: str) -> Answer:
    """Parse an answer that is not a list."""
    text = text.strip()
    matrix = _matrix(text)
    if matrix is not None:
        return matrix
    if _ALL_REALS.fullmatch(text):
        return Region((_EVERYTHING,))
    builder = _SET_BUILDER.fullmatch(text)
    if builder is not None:
        return read_answer(builder["rule"]) if relation_signs(builder["rule"]) else Value(text)
    signs = relation_signs(text)
    if signs:
        return _relation(text, signs)
    if is_words(text):
        return Words(text)
    union = _union(text)
    if union is not None:
        return union
    group = _group(text)
    if group is not None:
        return group
    if len(_PLUS_MINUS.findall(text)) == 1:
        plus, minus = _PLUS_MINUS.sub("+", text), _PLUS_MINUS.sub("-", text)
        return Listing((Value(plus.removeprefix("+").strip()), Value(minus)))
    return Value(text)


def _relation(text: str, signs: list[str]) -> Answer:
    sides = split_at(text, tuple(_RELATIONS))
    if not all(sides):
        return _single(sides[1]) if signs in (["~"], ["="]) and not sides[0] else Value(text)
    first_is_name = _NAME.fullmatch(sides[0]) is not None
    if signs == ["in"] and first_is_name:
        inside = read_answer(sides[1])
        return inside if isinstance(inside, Region) else Named(_name(sides[0]), inside)
    if set(signs) <= {"=", "~"} and "=" not in signs[signs.index("~") if "~" in signs else len(signs) :]:
        exact = sides[: 1 + signs.count("=")] if signs[0] == "=" else sides[:1]
        near = sides[len(exact) :]
        if first_is_name and len(sides) > 1:
            exact, near = (exact[1:], near) if len(exact) > 1 else (near[:1], near[1:])
            value = _single(exact[0]) if len(exact) == 1 and not near else Chain(tuple(exact), tuple(near))
            return Named(_name(sides[0]), value)
        return Chain(tuple(exact), tuple(near))
    return _inequality(sides, signs) or Value(text)


def _inequality(sides: list[str], signs: list[str]) -> Region | None:
    """Convert `x < 3`, `3 > x`, `-1 < x <= 2` or `x != 3` to a region."""
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
    if len(sides) == 2 and signs[0] in turned:
        (name, end), sign = sides, signs[0]
        if _VARIABLE.fullmatch(name) is None:
            name, end, sign = end, name, turned[sign]
        if _VARIABLE.fullmatch(name) is None or _VARIABLE.fullmatch(end) is not None:
            return None
        if sign == "!=":
            ends = (Interval(r"-\infty", end, False, False), Interval(end, r"\infty", False, False))
            return Region(ends, (), _name(name))
        if sign in ("<", "<="):
            return Region((Interval(r"-\infty", end, False, sign == "<="),), (), _name(name))
        return Region((Interval(end, r"\infty", sign == ">=", False),), (), _name(name))
    if len(sides) == 3 and (set(signs) <= {"<", "<="} or set(signs) <= {">", ">="}):
        low, name, high = sides if signs[0] in ("<", "<=") else reversed(sides)
        first, second = signs if signs[0] in ("<", "<=") else reversed(signs)
        if _VARIABLE.fullmatch(name) is not None:
            return Region((Interval(low, high, first in ("<=", ">="), second in ("<=", ">=")),), (), _name(name))
    return None


def _union(text: str) -> Region | None:
    r"""Parse `(-\infty, 1) \cup (2, 3]`, or all numbers except some."""
    pieces = split_at(text, (r"\cup",))
    if len(pieces) > 1:
        regions = [as_region(_single(piece)) for piece in pieces]
        found = [region for region in regions if region is not None]
        if len(found) != len(pieces):
            return None
        return Region(
            tuple(one for region in found for one in region.intervals),
            tuple(one for region in found for one in region.points),
        )
    without = split_at(text, (r"\setminus",)) if r"\setminus" in text else split_at(text, ("-",))
    if len(without) == 2 and _ALL_REALS.fullmatch(without[0]):
        removed = as_region(_single(without[1]))
        if removed is not None and len(removed.points) == 1 and not removed.intervals:
            end = removed.points[0]
            return Region((Interval(r"-\infty", end, False, False), Interval(end, r"\infty", False, False)))
    return None


def _group(text: str) -> Answer | None:
    opening = next((one for one in (r"\{", r"\langle", "(", "[") if text.startswith(one)), None)
    closing = next((one for one in (r"\}", r"\rangle", ")", "]") if text.endswith(one)), None)
    if opening is None or closing is None or len(text) < len(opening) + len(closing):
        return None
    inside = text[len(opening) : -len(closing)]
    if not _is_balanced(inside) or (opening in (r"\{", r"\langle")) != (closing in (r"\}", r"\rangle")):
        return None
    pieces = split_at(inside, (",", ";")) if inside.strip() else []
    if opening == r"\{" and not pieces:
        return Words(r"\emptyset")
    if opening == "(" and closing == ")" and len(pieces) == 1:
        return _single(inside)
    if len(pieces) > MOST_ITEMS or not all(pieces) or (len(pieces) < 2 and opening != r"\{"):
        return None
    items: list[Answer] = []
    for piece in pieces:
        one = _single(piece)
        items.extend(one.items if isinstance(one, Listing) and opening == r"\{" else (one,))
    return Group("(" if opening == r"\langle" else opening, ")" if closing == r"\rangle" else closing, tuple(items))


def _is_balanced(text: str) -> bool:
    """Whether no bracket closes an earlier group: `(1,2),(3,4)` is not a single group."""
    depth = 0
    for piece in _PIECE.finditer(text):
        depth += (piece[0] in _OPEN) - (piece[0] in _CLOSE)
        if depth < 0:
            return False
    return depth == 0


def _matrix(text: str) -> Matrix | None:
    found = _MATRIX.fullmatch(text)
    if found is None or r"\begin" in found["body"]:
        return None
    before = found["before"].strip().removesuffix(r"\cdot").strip()
    if before.endswith(("(", "[")) or relation_signs(before) or re.search(r"[+,;]|(?<=.)-$", before):
        return None
    rows = [tuple(split_at(row, ("&",))) for row in split_at(found["body"], (r"\\",)) if row.strip()]
    if not rows or len({len(row) for row in rows}) != 1:
        return None
    if before:
        rows = [
            tuple(f"({before}1)*({cell})" if before == "-" else f"({before})({cell})" for cell in row) for row in rows
        ]
    if found["transposed"]:
        rows = list(zip(*rows, strict=True))
    return Matrix(tuple(rows), found["kind"] in ("vmatrix", "Vmatrix"))


def _name(text: str) -> str:
    return re.sub(r"\s", "", text)
