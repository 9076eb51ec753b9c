"""Detects results without a lookup: constants instead of columns, or a result that no change of the data changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rewards.sql_engines import MOST_ROWS, Copy, DatabaseError, Engine, QueryError, Result, parsed, run_query
from rewards.sql_rows import Row

HALVES = (Copy("even"), Copy("odd"))
_STARTS = re.compile(
    r"(?i)[\s(]*(?:--|/\*|(?:select|with|values|from|update|delete|insert|create|drop|pragma|attach|vacuum)\b)"
)
_NAMED = re.compile(r"(?is)(?:[^`;]{0,400}?(?::|\n|\bis|\bquery)\s*)?`?\s*(?P<query>(?:select|with)\b.*)")
_EXPLAINED = re.compile(
    r"(?is)(?P<query>[^;]*);\s*\n\s*(?!(?:select|with|insert|update|delete|drop|create|pragma|attach|vacuum|--)\b).*"
)


def query_in(text: str) -> str:
    """Return the query of an answer without a fence: without `SQL:`, "The query is", backticks, and an explanation."""
    text = text.strip()
    if _STARTS.match(text) is None:
        named = _NAMED.fullmatch(text)
        text = named["query"].strip() if named is not None else text
        if text.endswith(("`", "`.")) and text.count("`") == 1:
            text = text.rstrip("`.").strip()
    explained = _EXPLAINED.fullmatch(text)
    return explained["query"].strip() if explained is not None else text


def constant_columns(query: str, *, engine: Engine) -> int | None:
    """Count the columns of a query that are constants in each of its selects; None if the columns are not listed."""
    try:
        tree = parsed(query, engine=engine).unnest()
    except QueryError:
        return None
    selects = _selects(tree)
    columns = [select.expressions for select in selects]
    if not selects or len({len(listed) for listed in columns}) != 1:
        return None
    return sum(all(map(_is_constant, place)) for place in zip(*columns, strict=True))


def made_up(
    answer: str,
    rows: Sequence[Row],
    *,
    gold: str,
    gold_rows: Sequence[Row],
    database: str,
    engine: Engine,
    seconds: float,
) -> bool | None:
    """Whether a result stays the same on copies of a database on which the reference's result changes.

    Args:
        answer: The query of the answer.
        rows: The answer's result on the database.
        gold: The reference query.
        gold_rows: The reference's result on the database.
        database: A path or a script.
        engine: The database system.
        seconds: Time limit of one query.

    Returns:
        None if no copy changes the reference's result, or no copy could be made.
    """
    told = None
    for half in HALVES:
        reference = gold_on_copy(gold, database, engine, seconds, half)
        if reference is None or sorted(map(repr, reference.rows)) == sorted(map(repr, gold_rows)):
            continue
        told = False
        try:
            found = run_query(answer, database=database, engine=engine, most_rows=MOST_ROWS, seconds=seconds, copy=half)
        except (QueryError, DatabaseError):
            continue
        if sorted(map(repr, found.rows)) == sorted(map(repr, rows)):
            return True
    return told


@lru_cache(maxsize=256)
def gold_on_copy(gold: str, database: str, engine: Engine, seconds: float, copy: Copy) -> Result | None:
    """Return the reference's result on a copy; None if the copy cannot be made, or the reference fails on it."""
    try:
        return run_query(gold, database=database, engine=engine, most_rows=MOST_ROWS, seconds=seconds, copy=copy)
    except (QueryError, DatabaseError, OSError):
        return None


def _selects(tree: Any) -> list[Any]:
    """Return the selects whose rows a query returns: a single one, or those that a set operation joins."""
    from sqlglot import exp

    if isinstance(tree, exp.SetOperation):
        return _selects(tree.left.unnest()) + _selects(tree.right.unnest())
    return [tree] if isinstance(tree, exp.Select) else []


def _is_constant(expression: Any) -> bool:
    """Whether a column of a select is a literal, or is computed from literals only."""
    from sqlglot import exp

    depends = (exp.Column, exp.Star, exp.Query, exp.Count, exp.Sum, exp.Window)
    return expression.find(*depends) is None and expression.find(exp.Literal, exp.Null, exp.Boolean) is not None
