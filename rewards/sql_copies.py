"""Changed copies of a database on which a right query still agrees with the reference, and a lucky one does not.

Only queries over one table are compared, and only copies that keep what a question may take for granted: keys between
tables and dependencies between columns stay as they are. Copies without half of the rows tell a query apart whose
condition is true of every row by chance. Where a query compares a column with a number, that number and its neighbours
are put into the column, which tells `>` from `>=`. Where only one of them compares a column with a text, that text is.
Where the answer picks rows by their names, the names change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from rewards.sql_constants import HALVES, gold_on_copy
from rewards.sql_engines import MOST_ROWS, Copy, DatabaseError, Engine, Half, QueryError, parsed, quoted, run_query
from rewards.sql_rows import Tolerance, difference

_MOST_BOUNDARIES = 4
_BOTH: tuple[Half, ...] = ("even", "odd")


class _Compared(NamedTuple):
    """Constants that a query compares its columns with; names are in lower case."""

    numbers: frozenset[tuple[str, int | float]]
    texts: frozenset[tuple[str, str]]
    picked: frozenset[str]
    """Columns that are compared with single values by `=` or `IN`."""


def differs_on_a_copy(
    answer: str,
    gold: str,
    *,
    table: str,
    database: str,
    engine: Engine,
    column_order: bool,
    tolerance: Tolerance,
    seconds: float,
) -> bool:
    """Whether the answer's result differs from the reference's on a changed copy of the database, in any order of rows.

    A copy on which either query fails, or whose rows cannot be changed, says nothing.

    Args:
        answer: The query of the answer.
        gold: The reference query.
        table: The only table that both read, in lower case.
        database: A path or a script.
        engine: The database system.
        column_order: Whether the columns must be in the reference's order.
        tolerance: Tolerance for two numbers.
        seconds: Time limit of one query.
    """
    for copy in _copies(answer, gold, table=table, database=database, engine=engine, seconds=seconds):
        expected = gold_on_copy(gold, database, engine, seconds, copy)
        if expected is None:
            continue
        try:
            found = run_query(answer, database=database, engine=engine, most_rows=MOST_ROWS, seconds=seconds, copy=copy)
        except (QueryError, DatabaseError):
            continue
        if difference(found.rows, expected.rows, ordered=False, column_order=column_order, tolerance=tolerance):
            return True
    return False


def _copies(answer: str, gold: str, *, table: str, database: str, engine: Engine, seconds: float) -> Iterator[Copy]:
    yield from HALVES
    try:
        trees = [parsed(query, engine=engine) for query in (answer, gold)]
    except QueryError:
        return
    if any(_depends_on_ties(tree) for tree in trees):
        return
    theirs, ours = (_compared(tree) for tree in trees)
    for column, number in sorted(theirs.numbers | ours.numbers)[:_MOST_BOUNDARIES]:
        for value in (number, number - 1, number + 1):
            yield from (Copy(half, table, column, value) for half in _BOTH)
    # With texts of its own on either side, both may say the same by two columns that go together.
    if {name for name, _ in theirs.texts} <= {name for name, _ in ours.texts} or {name for name, _ in ours.texts} <= {
        name for name, _ in theirs.texts
    }:
        for column, text in sorted(theirs.texts ^ ours.texts)[:_MOST_BOUNDARIES]:
            yield from (Copy(half, table, column, text) for half in _BOTH)
    for column in sorted(theirs.picked - ours.picked):
        if _is_distinct(column, table, database=database, engine=engine, seconds=seconds):
            yield from (Copy(half, table, column) for half in _BOTH)


def _depends_on_ties(tree: Any) -> bool:
    """Whether equal values in a column may change which rows are returned in a way that no question settles."""
    from sqlglot import exp

    return tree.find(exp.Limit, exp.Fetch, exp.Offset, exp.Window) is not None


def _compared(tree: Any) -> _Compared:
    from sqlglot import exp

    numbers: set[tuple[str, int | float]] = set()
    texts: set[tuple[str, str]] = set()
    picked: set[str] = set()
    for node in tree.find_all(exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ, exp.Between, exp.In):
        columns = [child for child in node.iter_expressions() if isinstance(child, exp.Column)]
        if len(columns) != 1:
            continue
        column = str(columns[0].name).lower()
        values = [child for child in node.iter_expressions() if child is not columns[0]]
        numbers |= {(column, value) for value in map(_number, values) if value is not None}
        texts |= {(column, str(one.name)) for one in values if isinstance(one, exp.Literal) and one.is_string}
        if isinstance(node, exp.EQ | exp.In) and values and all(isinstance(one, exp.Literal) for one in values):
            picked.add(column)
    return _Compared(frozenset(numbers), frozenset(texts), frozenset(picked))


def _number(tree: Any) -> int | float | None:
    from sqlglot import exp

    sign = 1
    if isinstance(tree, exp.Neg):
        tree, sign = tree.this, -1
    if not isinstance(tree, exp.Literal) or tree.is_string:
        return None
    try:
        return sign * (int(tree.name) if tree.is_int else float(tree.name))
    except ValueError:
        return None


def _is_distinct(column: str, table: str, *, database: str, engine: Engine, seconds: float) -> bool:
    """Whether no two rows of the table have the same value in the column, as names and keys have not."""
    query = f"SELECT count(*) = count(DISTINCT {quoted(column)}) FROM {quoted(table)}"
    try:
        return run_query(query, database=database, engine=engine, most_rows=1, seconds=seconds).rows == [(1,)]
    except (QueryError, DatabaseError):
        return False
