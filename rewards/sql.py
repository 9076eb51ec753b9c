"""SQL queries, judged by their results: the answer's rows against those of the reference query, on a real database.

Policies, each with a case or a test:

- Rows are compared as a multiset; their order counts if and only if the reference's outermost query has ORDER BY. Rows
  that tie in that order must come in the order in which the reference returned them.
- The answer must read a table that the reference reads, and its rows must come from the data: no constant may replace a
  column, and on copies of the database with every other row, the result must change if the reference's changes. Where
  both read the same single table, their results must also agree on such copies (`sql_copies.py`).
  `meta.database` may be a list of databases on which all results must agree.
- A reference that returns no row on any database cannot distinguish a right query from one with an impossible
  condition; it is a gold fault, unless `empty` is `compare`.
- The answer is one read-only statement. Writing, attaching, settings, files and functions with changing values are
  rejected; a query that runs too long is stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, cast

from rewards.extraction import OnMany
from rewards.fenced_blocks import fenced_or_whole
from rewards.sql_constants import constant_columns, made_up, query_in
from rewards.sql_copies import differs_on_a_copy
from rewards.sql_engines import MOST_ROWS, DatabaseError, Engine, QueryError, Result, parsed, run_query
from rewards.sql_rows import Tolerance, difference
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

Empty = Literal["fault", "compare"]

_CITIES = """
CREATE TABLE city (name TEXT, country TEXT, people REAL);
INSERT INTO city VALUES ('Rome', 'Italy', 2.8), ('Milan', 'Italy', 1.4), ('Paris', 'France', 2.1);
"""
_OTHER_CITIES = _CITIES.replace("'Rome'", "'Roma'")
_META = {"database": _CITIES}
_ITALY = "SELECT name FROM city WHERE country = 'Italy'"
_ORDERED = "SELECT name FROM city ORDER BY people DESC"
_FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(i) FROM n, city"
CASES = (
    # This case comes first: a worker judges it at its start, which loads sqlglot.
    Case(
        response="```sql\nSELECT c.name FROM city c WHERE c.country LIKE 'it%'\n```",
        gold=_ITALY,
        meta=_META,
        expect="accept",
    ),
    Case(response=f"{_ORDERED};", gold=_ORDERED, meta=_META, expect="accept"),
    Case(
        response="SELECT sum(people) FROM city",
        gold="SELECT sum(people * 10) / 10 FROM city",
        meta=_META,
        expect="accept",
        note="but for rounding",
    ),
    Case(response=_ITALY, gold=_ITALY, meta=_META, params={"engine": "duckdb"}, expect="accept"),
    Case(response=f"SQL: {_ITALY}", gold=_ITALY, meta=_META, expect="accept"),
    Case(response="SELECT count(*) FROM city", gold="SELECT count(name) FROM city", meta=_META, expect="accept"),
    Case(response="SELECT name FROM city", gold=_ITALY, meta=_META, expect="reject"),
    Case(response="SELECT name, country FROM city WHERE country = 'Italy'", gold=_ITALY, meta=_META, expect="reject"),
    Case(response="SELECT name FROM city ORDER BY people", gold=_ORDERED, meta=_META, expect="reject", note="order"),
    Case(response="SELECT nam FROM city", gold=_ITALY, meta=_META, expect="reject", note="no such column"),
    Case(response="Italy has Rome and Milan.", gold=_ITALY, meta=_META, expect="reject"),
    Case(
        response="SELECT 'Rome' UNION ALL SELECT 'Milan'",
        gold=_ITALY,
        meta=_META,
        expect="adversarial",
        note="constants",
    ),
    Case(
        response="SELECT column1 FROM (VALUES ('Rome'), ('Milan')), (SELECT count(*) FROM city)",
        gold=_ITALY,
        meta=_META,
        expect="adversarial",
        note="constants beside a table",
    ),
    Case(
        response="SELECT 'Rome' FROM city WHERE name = 'Rome' UNION ALL SELECT 'Milan' FROM city WHERE name = 'Milan'",
        gold=_ITALY,
        meta={"database": [_CITIES, _OTHER_CITIES]},
        expect="adversarial",
        note="right on one of two databases",
    ),
    Case(
        response="SELECT 3 FROM city WHERE name = 'Rome'",
        gold="SELECT count(name) FROM city",
        meta=_META,
        expect="adversarial",
        note="a constant beside a column",
    ),
    Case(
        response=_FOR_EVER,
        gold=_ITALY,
        meta=_META,
        params={"query_seconds": 0.2},
        expect="adversarial",
        note="never ends",
    ),
    Case(response=f"{_ITALY}; SELECT 1", gold=_ITALY, meta=_META, expect="adversarial", note="two statements"),
    Case(
        response="UPDATE city SET country = 'Italy' RETURNING name",
        gold=_ITALY,
        meta=_META,
        expect="adversarial",
        note="writes",
    ),
    Case(response="ATTACH DATABASE '/tmp/x.db' AS x", gold=_ITALY, meta=_META, expect="adversarial"),
    Case(response="VACUUM INTO '/tmp/x.db'", gold=_ITALY, meta=_META, expect="adversarial"),
    Case(response="PRAGMA query_only = OFF", gold=_ITALY, meta=_META, expect="adversarial"),
    Case(
        response="SELECT * FROM read_csv('/etc/passwd')",
        gold=_ITALY,
        meta=_META,
        params={"engine": "duckdb"},
        expect="adversarial",
    ),
    Case(
        response="SELECT hex(zeroblob(1000000000)), name FROM city",
        gold=_ITALY,
        meta=_META,
        expect="adversarial",
        note="memory",
    ),
    Case(
        response=f"```sql\n{_ITALY}\n```\nor\n```sql\n{_ORDERED}\n```",
        gold=_ITALY,
        meta=_META,
        expect="adversarial",
        note="hedged",
    ),
)


@verifier(
    name="sql.execution",
    version="3",
    timeout_s=10.0,
    memory_mib=4096,
    requires=("gold", "database"),
    extra="sql",
    modules=("sqlglot", "duckdb"),
    cases=CASES,
)
def execution(
    sample: Sample,
    *,
    engine: Engine = "sqlite",
    on_many: OnMany = "reject",
    ordered: bool | None = None,
    column_order: bool = True,
    empty: Empty = "fault",
    relative_tolerance: float = 1e-6,
    absolute_tolerance: float = 1e-9,
    query_seconds: float = 2.0,
    check_constants: bool = True,
) -> Verdict:
    """1 when the answer returns the same result as the reference query, otherwise 0.

    Args:
        sample: Its gold is the reference query; `meta.database` is the path of a database file, a script that creates a
            database, or a list of these. The answer is in a fenced block, or is the whole response.
        engine: The database system.
        on_many: Whether several different blocks are rejected or the last one counts.
        ordered: Whether the order of rows counts; None for yes if the reference has ORDER BY.
        column_order: Whether the columns must be in the reference's order.
        empty: Treatment of a reference without rows: a gold fault, or an expected result.
        relative_tolerance: Largest relative difference of two equal numbers, unless both are whole.
        absolute_tolerance: Largest absolute difference of such numbers.
        query_seconds: Time limit of one query.
        check_constants: Whether to reject an answer with a constant instead of a column, one whose result stays the
            same on copies of the database, with every other row, on which the reference's changes, and one over the
            same single table whose result differs from the reference's on a copy.
    """
    databases = _databases(sample.meta["database"])
    if not databases or not isinstance(sample.gold, str) or not sample.gold.strip():
        return Verdict(fault=Fault.GOLD, reason="the gold must be a query, and meta.database a path or a script")
    try:
        results = [_gold_result(sample.gold, one, engine, query_seconds) for one in databases]
        in_order = _has_order(sample.gold, engine) if ordered is None else ordered
    except (QueryError, DatabaseError, OSError, MemoryError) as error:
        return Verdict(fault=Fault.GOLD, reason=f"the reference does not run: {error!s:.200}")
    if not any(result.tables for result in results):
        return Verdict(fault=Fault.GOLD, reason="the reference reads no table")
    if empty == "fault" and not any(result.rows for result in results):
        return Verdict(fault=Fault.GOLD, reason="the reference returns no row, as any query may that finds nothing")
    found = fenced_or_whole(sample.response, languages=("sql", "sqlite", "duckdb"), on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    query = query_in(found.text)
    settings = _Settings(
        engine, in_order, column_order, Tolerance(relative_tolerance, absolute_tolerance), query_seconds
    )
    reason, tags = _why_not(query, sample.gold, databases, results, settings, check_constants=check_constants)
    return Verdict(score=0.0 if reason else 1.0, parsed=query[:2000], reason=reason or "equal", tags=tags)


class _Settings(NamedTuple):
    """The settings for comparing two results."""

    engine: Engine
    in_order: bool
    column_order: bool
    tolerance: Tolerance
    query_seconds: float


def _why_not(
    query: str,
    gold: str,
    databases: Sequence[str],
    results: Sequence[Result],
    settings: _Settings,
    *,
    check_constants: bool,
) -> tuple[str | None, tuple[str, ...]]:
    """Say why a query does not return the reference's result, with tags; (None, ()) if it does."""
    engine, in_order, column_order, tolerance, seconds = settings
    answers: list[Result] = []
    for database, expected in zip(databases, results, strict=True):
        try:
            answer = run_query(query, database=database, engine=engine, most_rows=len(expected.rows), seconds=seconds)
        except QueryError as error:
            return f"does not run: {error}", _tags(error)
        if expected.tables and not answer.tables & expected.tables:
            return "reads no table of the reference", ()
        reason = difference(
            answer.rows, expected.rows, ordered=in_order, column_order=column_order, tolerance=tolerance
        )
        if reason is not None:
            return reason, ()
        answers.append(answer)
    if check_constants:
        reason = _constant_reason(query, answers, gold, databases, results, settings)
        if reason is not None:
            return reason, ("stuffed",)
        return _lucky_reason(query, answers, gold, databases, results, settings), ()
    return None, ()


def _constant_reason(
    query: str,
    answers: Sequence[Result],
    gold: str,
    databases: Sequence[str],
    results: Sequence[Result],
    settings: _Settings,
) -> str | None:
    """Say why an equal result cannot have been looked up; None if it may have been."""
    if query.strip(" ;\n") == gold.strip(" ;\n"):
        return None
    made, asked = (constant_columns(text, engine=settings.engine) for text in (query, gold))
    if made is not None and asked is not None and made > asked:
        return "a constant in place of a column"
    told = [
        made_up(
            query,
            answer.rows,
            gold=gold,
            gold_rows=expected.rows,
            database=database,
            engine=settings.engine,
            seconds=settings.query_seconds,
        )
        for database, answer, expected in zip(databases, answers, results, strict=True)
    ]
    if True in told:
        return "a result that does not depend on the data"
    unread = any(one.reads_columns and not other.reads_columns for one, other in zip(results, answers, strict=True))
    return "reads no column" if unread and False not in told else None


def _lucky_reason(
    query: str,
    answers: Sequence[Result],
    gold: str,
    databases: Sequence[str],
    results: Sequence[Result],
    settings: _Settings,
) -> str | None:
    """Say why an equal result is one of this data only; None if nothing shows it."""
    if query.strip(" ;\n") == gold.strip(" ;\n"):
        return None
    for database, answer, expected in zip(databases, answers, results, strict=True):
        if answer.tables != expected.tables or len(expected.tables) != 1:
            continue
        if differs_on_a_copy(
            query,
            gold,
            table=min(expected.tables),
            database=database,
            engine=settings.engine,
            column_order=settings.column_order,
            tolerance=settings.tolerance,
            seconds=settings.query_seconds,
        ):
            return "agrees on the given rows, and not on others"
    return None


def _databases(value: object) -> list[str]:
    several = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str) and one.strip() and "\0" not in one for one in several):
        return []
    return [cast("str", one) for one in several]


@lru_cache(maxsize=256)
def _gold_result(gold: str, database: str, engine: Engine, seconds: float) -> Result:
    return run_query(gold, database=database, engine=engine, most_rows=MOST_ROWS, seconds=seconds)


@lru_cache(maxsize=256)
def _has_order(gold: str, engine: Engine) -> bool:
    tree = parsed(gold, engine=engine).unnest()
    return tree.args.get("order") is not None


def _tags(error: QueryError) -> tuple[str, ...]:
    return ("refused",) if "not authorized" in str(error) or "one statement" in str(error) else ()
