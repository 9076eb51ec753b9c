from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rewards.sql import CASES, execution
from rewards.sql_rows import Tolerance, difference
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, case_failure
from rlpost.scoring.workers import WorkerPool

SCRIPT = """
PRAGMA foreign_keys = ON;
CREATE TABLE item (name TEXT, price DOUBLE, shop TEXT);
INSERT INTO item VALUES ('a', 0.1, 'x'), ('b', 0.2, 'x'), ('c', NULL, 'y'), ('c', NULL, 'y');
"""
DUCK_SCRIPT = SCRIPT.replace("PRAGMA foreign_keys = ON;", "")


def judged(response: str, gold: Any, *, database: Any = None, **params: Any) -> Verdict:
    script = DUCK_SCRIPT if params.get("engine") == "duckdb" else SCRIPT
    meta = {"database": script if database is None else database}
    sample = Sample(id="s", prompt="", response=response, gold=gold, meta=meta)
    return execution.judge(sample, params=params)


@pytest.mark.parametrize("case", CASES, ids=[case.response[:30] for case in CASES])
def test_cases(case: Case) -> None:
    verdict = execution.judge(case.sample(), params=execution.validated(case.params))
    assert case_failure(execution, case, verdict=verdict) is None


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    ("response", "gold", "score"),
    [
        ("SELECT name FROM item ORDER BY name DESC", "SELECT name FROM item", 1.0),
        ("SELECT DISTINCT name FROM item", "SELECT name FROM item", 0.0),
        ("SELECT name, price FROM item", "SELECT name FROM item", 0.0),
        ("SELECT price, name FROM item", "SELECT name, price FROM item", 0.0),
        ("SELECT sum(price) FROM item", "SELECT sum(price * 10) / 10 FROM item", 1.0),
        ("SELECT coalesce(price, 0) FROM item", "SELECT price FROM item", 0.0),
        ("SELECT price FROM item", "SELECT coalesce(price, 0) FROM item", 0.0),
        ("SELECT count(*) FROM item", "SELECT count(*) FROM item", 1.0),
        ("SELECT 4", "SELECT count(*) FROM item", 0.0),
        ("WITH x AS (SELECT shop FROM item) SELECT * FROM x", "SELECT shop FROM item", 1.0),
        ("SELECT name FROM item WHERE name = 'c' LIMIT 1", "SELECT name FROM item WHERE name = 'c'", 0.0),
        ("SELECT '1' FROM item", "SELECT 1 FROM item", 0.0),
    ],
)
def test_results_are_compared_as_multisets(engine: str, response: str, gold: str, score: float) -> None:
    assert judged(response, gold, engine=engine).score == score


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_order_counts_where_the_outermost_reference_query_has_it(engine: str) -> None:
    ordered = "SELECT name FROM item WHERE price > 0 ORDER BY price DESC"
    inner = "SELECT name FROM (SELECT * FROM item WHERE price > 0 ORDER BY price DESC)"
    assert judged("SELECT name FROM item WHERE price > 0", ordered, engine=engine).reason == "another order of rows"
    assert judged("SELECT name FROM item WHERE price > 0", inner, engine=engine).score == 1.0
    assert judged("SELECT name FROM item WHERE price > 0", ordered, engine=engine, ordered=False).score == 1.0


def test_columns_may_stand_in_another_order_where_that_is_asked_for() -> None:
    verdict = judged("SELECT shop, price, name FROM item", "SELECT name, price, shop FROM item", column_order=False)
    assert verdict.score == 1.0
    assert (
        judged("SELECT shop, shop, name FROM item", "SELECT name, price, shop FROM item", column_order=False).score == 0
    )


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    ("gold", "database"),
    [
        (3, None),
        ("", None),
        ("SELECT nothing FROM item", None),
        ("SELECT 1; SELECT 2", None),
        ("SELECT 1", None),
        ("SELECT name FROM item WHERE price > 9", None),
        ("SELECT random() FROM item", None),
        ("DELETE FROM item RETURNING name", None),
        ("SELECT name FROM item", ""),
        ("SELECT name FROM item", []),
        ("SELECT name FROM item", 3),
        ("SELECT name FROM item", "/nowhere/at/all.db"),
        ("SELECT name FROM item", "CREATE TABLE item (name; "),
    ],
)
def test_a_reference_that_cannot_be_trusted_is_a_gold_fault(engine: str, gold: Any, database: Any) -> None:
    assert judged("SELECT name FROM item", gold, database=database, engine=engine).fault is Fault.GOLD


def test_an_empty_reference_is_compared_where_that_is_asked_for() -> None:
    gold = "SELECT name FROM item WHERE price > 9"
    assert judged("SELECT name FROM item WHERE NOT price <= 9", gold, empty="compare").score == 1.0
    assert judged("SELECT 1 WHERE 0", gold, empty="compare").score == 0.0


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_a_database_file_is_read_and_not_touched(tmp_path: Path, engine: str) -> None:
    # duckdb itself takes what follows a question mark for options.
    path = tmp_path / ("a file?#%.db" if engine == "sqlite" else "a file#%.db")
    if engine == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.executescript(SCRIPT)
        connection.close()
    else:
        duckdb.connect(str(path)).execute(DUCK_SCRIPT).close()
    before = (path.read_bytes(), sorted(tmp_path.iterdir()))
    gold = "SELECT name FROM item"
    assert judged("SELECT name FROM item", gold, database=str(path), engine=engine).score == 1.0
    for attack in ("DELETE FROM item", "DROP TABLE item", "CREATE TABLE x (a INT)", "CREATE TEMP TABLE x (a INT)"):
        assert judged(attack, gold, database=str(path), engine=engine).tags == ("refused",)
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    "attack",
    [
        "ATTACH '{path}' AS x",
        "VACUUM INTO '{path}'",
        "PRAGMA journal_mode = WAL",
        "SELECT load_extension('{path}')",
        "SELECT writefile('{path}', 'x') FROM item",
        "COPY item TO '{path}'",
        "EXPORT DATABASE '{path}'",
        "INSTALL httpfs",
        "SET threads = 8",
        "SELECT name FROM item; DROP TABLE item",
        "INSERT INTO item VALUES ('d', 1, 'z') RETURNING name",
        "SELECT name FROM read_text('/etc/passwd')",
        "SELECT * FROM pragma_database_list",
        "SELECT\0name FROM item",
        "SELECT '\ud800' FROM item",
        "SELECT " + "(" * 9000 + "1" + ")" * 9000,
        "SELECT " + "-" * 19_000 + "1",
        "SELECT 1 FROM item WHERE " + " AND ".join(["1=1"] * 2000),
    ],
)
def test_an_attack_gets_nothing_and_leaves_nothing(tmp_path: Path, engine: str, attack: str) -> None:
    path = tmp_path / "x"
    gold = "SELECT name FROM item"
    verdict = judged(attack.replace("{path}", str(path)), gold, engine=engine)
    assert (verdict.score, verdict.fault, list(tmp_path.iterdir())) == (0.0, None, [])
    assert judged(gold, gold, engine=engine).score == 1.0


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize("script", ["ATTACH '{path}' AS x;", "VACUUM INTO '{path}';", "COPY (SELECT 1) TO '{path}';"])
def test_a_script_of_the_data_set_writes_no_file_either(tmp_path: Path, engine: str, script: str) -> None:
    path = tmp_path / "x"
    database = DUCK_SCRIPT + script.replace("{path}", str(path))
    verdict = judged("SELECT name FROM item", "SELECT name FROM item", database=database, engine=engine)
    assert (verdict.fault, list(tmp_path.iterdir())) == (Fault.GOLD, [])


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(i) FROM n, item",
        "SELECT count(a.name) FROM " + ", ".join(f"item {letter}" for letter in "abcdefghijklmnopqr"),
    ],
)
def test_a_query_without_end_is_ended_at_its_limit(engine: str, query: str) -> None:
    started = time.monotonic()
    verdict = judged(query, "SELECT count(*) FROM item", engine=engine, query_seconds=0.3)
    assert (verdict.score, verdict.reason) == (0.0, "does not run: passed the time limit")
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_a_query_with_more_rows_than_the_reference_is_not_read_to_its_end(engine: str) -> None:
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT name FROM n, item"
    assert judged(query, "SELECT name FROM item", engine=engine).reason == "does not run: too many rows"


def test_after_a_query_that_ate_the_memory_a_right_one_is_still_paid() -> None:
    gold = "SELECT name, price FROM item ORDER BY name, price"
    bombs = [
        "SELECT list(range) FROM range(1000000000), item",
        "SELECT string_agg(range::text, name) FROM range(1000000000), item",
    ]
    samples = [
        Sample(id=str(index), prompt="", response=query, gold=gold, meta={"database": DUCK_SCRIPT})
        for index, query in enumerate([gold, *bombs, gold])
    ]
    pool = WorkerPool(execution, workers=1)
    try:
        verdicts = pool.judge(samples, params=execution.validated({"engine": "duckdb"}), timeout_s=10.0)
    finally:
        pool.close()
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 0.0, 1.0]
    assert {verdict.fault for verdict in verdicts} <= {None, Fault.POLICY}


EXACT = Tolerance(relative=1e-6, absolute=0.0)


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ([(1.0000001, "b"), (1.0, "a")], [(1.0, "b"), (1.0000001, "a")], None),
        ([(1.5, 2.5), (1.5000001, 3.5)], [(1.5000001, 2.5), (1.5, 3.5)], None),
        ([(1.5,), (1.5,)], [(1.5,), (2.5,)], "other rows"),
        ([(1000001,)], [(1000000,)], "other rows"),
        ([(None,)], [(0,)], "other rows"),
        ([("1",)], [(1,)], "other rows"),
        ([(b"x",)], [("x",)], "other rows"),
        ([(10**400,)], [(0.5,)], "other rows"),
        ([("number",), (1.5,)], [(1.5,), ("number",)], None),
    ],
)
def test_rows_are_paired_within_the_tolerance(answer: Any, gold: Any, reason: str | None) -> None:
    assert difference(answer, gold, ordered=False, column_order=True, tolerance=EXACT) == reason


def test_many_rows_that_differ_a_little_are_compared_in_time() -> None:
    gold = [(index + 0.5, "x") for index in range(20_000)]
    answer = [(value * (1 + 1e-9), text) for value, text in reversed(gold)]
    started = time.monotonic()
    assert difference(answer, gold, ordered=False, column_order=True, tolerance=EXACT) is None
    assert time.monotonic() - started < 5.0
