"""Queries in sentences and backticks, counts of rows, and results that were made up."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from rewards.sql import execution
from rewards.sql_constants import query_in
from rlpost.records import Sample, Verdict

SHOP = """
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL, kind TEXT);
INSERT INTO item VALUES (2, 'pen', 1.5, 'office'), (4, 'ink', 4.0, 'office');
INSERT INTO item VALUES (6, 'cup', 3.0, 'home'), (8, 'pot', 9.5, 'home');
CREATE TABLE sale (item_id INTEGER, day TEXT);
INSERT INTO sale VALUES (2, 'mon'), (2, 'tue'), (4, 'mon'), (8, 'wed');
"""
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "duckdb"])


def judged(response: str, gold: str, database: str = SHOP, **params: object) -> Verdict:
    sample = Sample(id="s", prompt="", response=response, gold=gold, meta={"database": database})
    return execution.judge(sample, params=execution.validated(params))


@pytest.mark.parametrize(
    "response",
    [
        "SQL: SELECT name FROM item",
        "Query: SELECT name FROM item;",
        "The query is: SELECT name FROM item",
        "The query is SELECT name FROM item",
        "Here is the query:\n\nSELECT name FROM item;",
        "`SELECT name FROM item`",
        "The query is `SELECT name FROM item`.",
        "SELECT name\nFROM item;\n\nThis returns the name of every item.",
        "<answer>SELECT name FROM item</answer>",
        "<answer>\n```sql\nSELECT name FROM item\n```\n</answer>",
        "```SQL\nSELECT name FROM item\n```\nIt lists all names.",
        "<think>SELECT 1</think>SELECT name FROM item",
        "WITH i AS (SELECT * FROM item) SELECT name FROM i",
        "-- names\nSELECT name FROM item",
        "select NAME from ITEM",
    ],
)
def test_a_query_is_read_from_sentences_tags_and_backticks(response: str) -> None:
    assert judged(response, "SELECT name FROM item").score == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "`SELECT name FROM item` or `SELECT id FROM item`",
        "SELECT name FROM item; SELECT id FROM item",
        "SELECT name FROM item;\nSELECT id FROM item",
        "I would select the names.",
        "<think>SELECT name FROM item",
        "The query is: DELETE FROM item",
        "SQL: SELECT id FROM item",
    ],
)
def test_several_queries_and_none_are_not_paid(response: str) -> None:
    assert judged(response, "SELECT name FROM item").score == 0.0


@ENGINES
@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("SELECT COUNT(*) FROM item", "SELECT COUNT(id) FROM item"),
        ("SELECT COUNT(1) FROM item", "SELECT COUNT(name) FROM item"),
        ("SELECT kind, COUNT(*) FROM item GROUP BY kind", "SELECT kind, COUNT(id) FROM item GROUP BY kind"),
        ("SELECT SUM(1) FROM item", "SELECT COUNT(id) FROM item"),
        ("SELECT 'all', COUNT(*) FROM item", "SELECT 'all', COUNT(id) FROM item"),
        ("SELECT MAX(price) FROM item", "SELECT price FROM item ORDER BY price DESC LIMIT 1"),
        (
            "SELECT CASE WHEN price > 2 THEN 'dear' ELSE 'cheap' END FROM item",
            "SELECT CASE WHEN price <= 2 THEN 'cheap' ELSE 'dear' END FROM item",
        ),
        (
            "SELECT name FROM item WHERE id IN (SELECT item_id FROM sale)",
            "SELECT DISTINCT name FROM item JOIN sale ON item.id = sale.item_id",
        ),
        ("SELECT COUNT(*) FROM (SELECT id FROM item) AS i", "SELECT COUNT(id) FROM item"),
    ],
)
def test_another_query_for_the_same_rows_is_right(answer: str, gold: str, engine: str) -> None:
    verdict = judged(answer, gold, engine=engine)
    assert verdict.score == 1.0, verdict


@ENGINES
@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("SELECT 4 FROM item WHERE id = 2", "SELECT COUNT(id) FROM item"),
        ("SELECT 4 FROM item LIMIT 1", "SELECT COUNT(id) FROM item"),
        ("SELECT DISTINCT 4 FROM item WHERE price > 0", "SELECT COUNT(id) FROM item"),
        ("SELECT 2 + 2 FROM item WHERE id = 2", "SELECT COUNT(id) FROM item"),
        ("SELECT MAX(4) FROM item WHERE id > 0", "SELECT COUNT(id) FROM item"),
        ("SELECT 4 + 0 * MIN(id) FROM item", "SELECT COUNT(id) FROM item"),
        ("SELECT n FROM (SELECT 4 AS n FROM item WHERE id > 0 LIMIT 1) AS i", "SELECT COUNT(id) FROM item"),
        ("SELECT 'pen' FROM item WHERE id = 2", "SELECT name FROM item WHERE price = 1.5"),
        (
            "SELECT 'pen' FROM item WHERE id = 2 UNION ALL SELECT 'ink' FROM item WHERE id = 4",
            "SELECT name FROM item WHERE kind = 'office'",
        ),
        ("SELECT name, 1.5 FROM item WHERE id = 2", "SELECT name, price FROM item WHERE id = 2"),
    ],
)
def test_a_constant_that_is_right_on_this_database_is_not_paid(answer: str, gold: str, engine: str) -> None:
    verdict = judged(answer, gold, engine=engine)
    assert (verdict.score, verdict.tags) == (0.0, ("stuffed",)), verdict


def test_constants_are_paid_where_the_recipe_does_not_look_for_them() -> None:
    verdict = judged("SELECT 4 FROM item WHERE id = 2", "SELECT COUNT(id) FROM item", check_constants=False)
    assert verdict.score == 1.0


def test_a_database_file_is_copied_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(SHOP)
    connection.close()
    before = path.read_bytes()
    assert judged("SELECT 4 + 0 * MIN(id) FROM item", "SELECT COUNT(id) FROM item", str(path)).score == 0.0
    assert judged("SELECT COUNT(*) FROM item", "SELECT COUNT(id) FROM item", str(path)).score == 1.0
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_triggers_and_tables_without_row_numbers_do_no_harm() -> None:
    script = SHOP + "CREATE TABLE pair (a TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO pair VALUES ('x');"
    script += "CREATE TRIGGER keep BEFORE DELETE ON item BEGIN SELECT RAISE(ABORT, 'no'); END;"
    assert judged("SELECT COUNT(*) FROM item", "SELECT COUNT(id) FROM item", script).score == 1.0
    assert judged("SELECT 4 + 0 * MIN(id) FROM item", "SELECT COUNT(id) FROM item", script).score == 0.0


def test_a_query_in_a_sentence_keeps_its_own_text() -> None:
    assert query_in("The query is:\n`SELECT a\nFROM t`") == "SELECT a\nFROM t"
    assert query_in("SELECT ':' FROM t") == "SELECT ':' FROM t"
