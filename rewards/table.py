"""Tables: the rows of the gold, written as CSV, Markdown or JSON.

Cells are equal if their folded texts are, or if both are plain numbers with the same value (`1,200` and `1200.0`);
digits after a leading zero are text. An empty cell and null are equal.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import Field

from rewards.extraction import OnMany, plain_characters
from rewards.plain_numbers import read_plain_number
from rewards.strict_json import Payload, payload, read_json
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

MOST_ROWS = 1000
LONGEST_NUMBER = 50

Cell = str | Fraction
Row = tuple[Cell, ...]
Format = Literal["auto", "csv", "markdown", "json"]
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_NUMBER = " "
_RULE = re.compile(r"[\s|:-]+")
_BAR = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"[+-]?0\d")
_CITIES = [{"city": "Oslo", "people": 717710}, {"city": "Bern", "people": 134794}]

CASES = (
    Case(response="city,people\nOslo,717710\nBern,134794\n", gold=_CITIES, expect="accept"),
    Case(
        response="| People | City |\n|---:|:---|\n| 134,794 | Bern |\n| 717,710 | Oslo |",
        gold=_CITIES,
        expect="accept",
        note="rows and columns in any order, numbers by value",
    ),
    Case(
        response='```json\n[["city", "people"], ["oslo", 717710.0], ["bern", 134794]]\n```',
        gold=_CITIES,
        expect="accept",
    ),
    Case(response="a,1\nb,2", gold=[["a", 1], ["b", 2]], params={"header": False}, expect="accept"),
    Case(response="x\n1.001", gold="x\n1", params={"absolute_tolerance": 0.01}, expect="accept"),
    Case(response="city,people\nOslo,717710", gold=_CITIES, expect="reject", note="a row is missing"),
    Case(response="city,people\nOslo,717710", gold=_CITIES, params={"partial": True}, expect="reject", at_most=0.7),
    Case(response="city,people\nOslo,717711\nBern,134794", gold=_CITIES, expect="reject"),
    Case(
        response="people,city\nOslo,717710\nBern,134794", gold=_CITIES, expect="reject", note="values under other names"
    ),
    Case(response="city,people\nBern,134794\nOslo,717710", gold=_CITIES, params={"ordered": True}, expect="reject"),
    Case(
        response="city,people\nOslo,717710\nBern,134794\nBern,134794", gold=_CITIES, expect="adversarial", note="twice"
    ),
    Case(
        response="city,people\n" + "Oslo,717710\n" * 5000, gold=_CITIES, params={"partial": True}, expect="adversarial"
    ),
    Case(response="city,city,people\nOslo,Bern,717710", gold=_CITIES, expect="adversarial", note="a name twice"),
    Case(response="city,people,people2\nOslo,717710,1\nBern,134794,2", gold=_CITIES, expect="adversarial"),
    Case(response="```\ncity,people\n```\n```\ncity,people\n```", gold=_CITIES, expect="adversarial", note="hedged"),
    Case(response="code\n7", gold=[{"code": "007"}], expect="adversarial", note="a code is no number"),
)


class Table(NamedTuple):
    """The rows, and the folded names of their columns if there are any."""

    columns: tuple[str, ...]
    rows: list[Row]


@verifier(name="table.match", version="2", timeout_s=3.0, cases=CASES)
def match(
    sample: Sample,
    *,
    format: Format = "auto",
    header: bool = True,
    ordered: bool = False,
    partial: bool = False,
    casefold: bool = True,
    relative_tolerance: Tolerance = 0.0,
    absolute_tolerance: Tolerance = 0.0,
    text_around: bool = False,
    on_many: OnMany = "reject",
) -> Verdict:
    """1 when the table has exactly the rows and columns of the gold, otherwise 0.

    `parts` has precision and recall of the rows. Columns are matched by name and may be in any order.

    Args:
        sample: Its gold is a list of objects, a list of lists, or the text of a table.
        format: Format of the response; `auto` decides by its first characters.
        header: Whether the first row holds the names; without names, columns are matched by position.
        ordered: Whether the order of rows counts.
        partial: Give F1 of the rows as the score.
        casefold: Whether case is ignored.
        relative_tolerance: Tolerance of numeric cells, relative to the gold.
        absolute_tolerance: Absolute tolerance of numeric cells.
        text_around: Whether text may precede or follow the code fence.
        on_many: Whether several code fences are rejected or the last one counts.
    """
    gold = _gold_table(sample.gold, header=header, casefold=casefold)
    if gold is None or not gold.rows:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a table")
    found = payload(sample.response, fence="allow", text_around=text_around, on_many=on_many)
    table = _read(found, format=format, header=header, casefold=casefold)
    if isinstance(table, str):
        return Verdict(score=0.0, reason=table, tags=found.tags)
    places = _places(table.columns, gold.columns)
    if places is None:
        return Verdict(score=0.0, reason=f"the columns are {', '.join(table.columns)[:100]}")
    rows = [tuple(row[place] for place in places) for row in table.rows] if gold.columns else table.rows
    if relative_tolerance or absolute_tolerance:
        tolerances = (Fraction(repr(relative_tolerance)), Fraction(repr(absolute_tolerance)))
        hits = _near_hits(rows, gold.rows, tolerances=tolerances, ordered=ordered)
    elif ordered:
        hits = sum(row == wanted for row, wanted in zip(rows, gold.rows, strict=False))
    else:
        hits = sum((Counter(rows) & Counter(gold.rows)).values())
    precision, recall = hits / max(1, len(rows)), hits / len(gold.rows)
    parts = {"precision": precision, "recall": recall}
    if precision == 1 and recall == 1:
        return Verdict(score=1.0, parts=parts, reason="equal")
    share = 2 * hits / (len(rows) + len(gold.rows)) if partial else 0.0
    return Verdict(score=share, parts=parts, reason=f"{hits} of {len(gold.rows)} rows, in {len(rows)}")


def _read(found: Payload, *, format: Format, header: bool, casefold: bool) -> Table | str:
    """Read the table in a payload; return the reason if there is none."""
    if found.text is None:
        return found.reason
    text = found.text.strip("\n")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    is_markdown = len(lines) > 1 and "|" in lines[0] and _is_rule(lines[1])
    if format == "markdown" or (format == "auto" and is_markdown):
        cells = [_markdown_cells(line) for line in lines if not _is_rule(line)]
        return _table(cells, header=header, casefold=casefold)
    if format == "json" or (format == "auto" and text[:1] in ("[", "{")):
        read = read_json(text)
        return read.problem or _data_table(read.value, header=header, casefold=casefold)
    try:
        delimiter = next((mark for mark in "\t;" if mark in lines[0] and "," not in lines[0]), ",") if lines else ","
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error as error:
        return f"not CSV: {error!s:.100}"
    return _table([row for row in rows if row], header=header, casefold=casefold)


def _gold_table(gold: object, *, header: bool, casefold: bool) -> Table | None:
    table = (
        _read(Payload(gold), format="auto", header=header, casefold=casefold)
        if isinstance(gold, str) and gold.strip()
        else _data_table(gold, header=header, casefold=casefold)
    )
    return None if isinstance(table, str) else table


def _data_table(value: object, *, header: bool, casefold: bool) -> Table | str:
    """Make a table from a list of objects or a list of lists."""
    rows = cast("Sequence[object]", value) if isinstance(value, list | tuple) else []
    if rows and all(isinstance(row, Mapping) for row in rows):
        objects = cast("Sequence[Mapping[Any, Any]]", rows)
        names = list(dict.fromkeys(str(name) for one in objects for name in one))
        table = _table([names, *([one.get(name) for name in names] for one in objects)], header=True, casefold=casefold)
        return table if header or isinstance(table, str) else table._replace(columns=())
    if rows and all(isinstance(row, list | tuple) for row in rows):
        return _table([list(cast("Sequence[Any]", row)) for row in rows], header=header, casefold=casefold)
    return "not a list of rows"


def _table(cells: Sequence[Sequence[Any]], *, header: bool, casefold: bool) -> Table | str:
    if len(cells) > MOST_ROWS + 1:
        return f"more than {MOST_ROWS} rows"
    columns = tuple(_folded(str(name), True) for name in cells[0]) if header and cells else ()
    rows = [tuple(_cell(value, casefold) for value in row) for row in (cells[1:] if header else cells)]
    if len(set(columns)) != len(columns):
        return "a column name stands twice"
    if header and any(len(row) != len(columns) for row in rows):
        return "a row of another width"
    return Table(columns=columns, rows=rows)


def _is_rule(line: str) -> bool:
    return "-" in line and _RULE.fullmatch(line) is not None


def _markdown_cells(line: str) -> list[str]:
    if line.startswith("|"):
        line = line[1:]
    if line.endswith("|") and not line.endswith("\\|"):
        line = line[:-1]
    return [cell.replace("\\|", "|").replace("**", "").strip() for cell in _BAR.split(line)]


def _cell(value: object, casefold: bool) -> Cell:
    if value is None:
        return ""
    text = _folded(str(value), casefold)
    if len(text) > LONGEST_NUMBER or _CODE.match(text):
        return text
    number = read_plain_number(text)
    return number.value if number is not None and not number.unit else text


def _folded(text: str, casefold: bool) -> str:
    plain = " ".join(plain_characters(text).split())
    return plain.casefold() if casefold else plain


def _places(columns: tuple[str, ...], wanted: tuple[str, ...]) -> list[int] | None:
    """Return the position of each wanted column; None if the columns are different ones."""
    if sorted(columns) != sorted(wanted):
        return None
    return [columns.index(name) for name in wanted]


def _near_hits(
    rows: Sequence[Row], wanted: Sequence[Row], *, tolerances: tuple[Fraction, Fraction], ordered: bool
) -> int:
    """Count the rows that match a gold row of their own within the tolerances; each takes the first free one."""
    bounds = [_bounds(gold, tolerances) for gold in wanted]
    values = [_split(row) for row in rows]
    if ordered:
        return sum(_near(value, bound) for value, bound in zip(values, bounds, strict=False))
    for value in values:
        place = next((index for index, bound in enumerate(bounds) if _near(value, bound)), None)
        if place is not None:
            del bounds[place]
    return len(wanted) - len(bounds)


def _near(value: tuple[Row, list[float]], bound: tuple[Row, list[tuple[float, float]]]) -> bool:
    if value[0] != bound[0]:
        return False
    return all(low <= number <= high for number, (low, high) in zip(value[1], bound[1], strict=True))


def _bounds(gold: Row, tolerances: tuple[Fraction, Fraction]) -> tuple[Row, list[tuple[float, float]]]:
    """Return the text cells, and the bounds for each numeric cell; rounding widens them by one ulp at most."""
    numbers = [cell for cell in gold if isinstance(cell, Fraction)]
    widths = [max(tolerances[0] * abs(number), tolerances[1]) for number in numbers]
    ends = [(_float(number - width), _float(number + width)) for number, width in zip(numbers, widths, strict=True)]
    return _split(gold)[0], ends


def _split(row: Row) -> tuple[Row, list[float]]:
    """Split a row into its cells with a mark in place of each number, and its numbers; no folded text equals the
    mark.
    """
    texts = tuple(cell if isinstance(cell, str) else _NUMBER for cell in row)
    return texts, [_float(cell) for cell in row if isinstance(cell, Fraction)]


def _float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
