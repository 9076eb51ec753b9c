"""Queries over one table that agree with the reference on the given rows by chance, and right ones that do not look
like it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from rewards.sql import execution
from rlpost.records import Sample, Verdict

STAFF = """
CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT UNIQUE, team TEXT, age INTEGER, pay REAL);
INSERT INTO staff VALUES (1, 'Ada', 'data', 34, 5.5), (2, 'Ben', 'data', 28, 4.0), (3, 'Cyd', 'web', 41, 6.0);
INSERT INTO staff VALUES (4, 'Dee', 'web', 25, 3.5), (5, 'Eli', 'ops', 34, 4.5), (6, 'Fay', 'data', 52, 7.0);
"""
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "duckdb"])


def judged(response: str, gold: str, database: str = STAFF, **params: object) -> Verdict:
    sample = Sample(id="s", prompt="", response=response, gold=gold, meta={"database": database})
    return execution.judge(sample, params=execution.validated(params))


@ENGINES
@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        # A condition that is true of all rows, or of all rows of the result, by chance.
        ("SELECT name FROM staff", "SELECT name FROM staff WHERE age > 20"),
        ("SELECT name FROM staff WHERE age < 60", "SELECT name FROM staff"),
        ("SELECT name FROM staff WHERE team = 'data'", "SELECT name FROM staff WHERE team = 'data' AND age >= 28"),
        ("SELECT count(*) FROM staff", "SELECT count(*) FROM staff WHERE pay > 3"),
        ("SELECT max(age) FROM staff", "SELECT max(age) FROM staff WHERE team = 'data'"),
        ("SELECT min(age) FROM staff", "SELECT min(age) FROM staff WHERE team <> 'data'"),
        # Boundaries between which no row lies.
        ("SELECT name FROM staff WHERE age > 30", "SELECT name FROM staff WHERE age >= 30"),
        ("SELECT name FROM staff WHERE age > 33", "SELECT name FROM staff WHERE age > 30"),
        ("SELECT name FROM staff WHERE pay < 5", "SELECT name FROM staff WHERE pay <= 5"),
        ("SELECT name FROM staff WHERE NOT age <= 40", "SELECT name FROM staff WHERE age >= 40"),
        ("SELECT name FROM staff WHERE age BETWEEN 30 AND 40", "SELECT name FROM staff WHERE age > 30 AND age < 40"),
        ("SELECT count(*) FROM staff WHERE age > 29", "SELECT count(*) FROM staff WHERE age > 30"),
        ("SELECT team FROM staff GROUP BY team HAVING max(age) > 50", "SELECT team FROM staff WHERE age > 50"),
        # Rows picked by their names or keys instead of by what was asked.
        ("SELECT name FROM staff WHERE name IN ('Ada', 'Ben', 'Fay')", "SELECT name FROM staff WHERE team = 'data'"),
        ("SELECT name FROM staff WHERE id = 3 OR id = 4", "SELECT name FROM staff WHERE team = 'web'"),
        ("SELECT pay FROM staff WHERE name = 'Fay'", "SELECT pay FROM staff WHERE age > 50"),
        ("SELECT name FROM staff WHERE id <= 2", "SELECT name FROM staff WHERE team = 'data' AND age < 40"),
        # Another aggregate with the same value.
        (
            "SELECT avg(pay) FROM staff WHERE id < 3",
            "SELECT 4.75 * count(*) / 2 FROM staff WHERE team = 'data' AND age < 40",
        ),
        ("SELECT count(*) FROM staff", "SELECT count(DISTINCT team) * 2 FROM staff"),
        ("SELECT count(DISTINCT team) FROM staff", "SELECT count(*) FROM staff WHERE team = 'data'"),
        (
            "SELECT DISTINCT age FROM staff WHERE team = 'data'",
            "SELECT age FROM staff WHERE team = 'data' AND age < 60",
        ),
        (
            "SELECT team FROM staff GROUP BY team HAVING count(*) > 1",
            "SELECT DISTINCT team FROM staff WHERE team <> 'ops'",
        ),
        ("SELECT name FROM staff WHERE pay > 5", "SELECT name FROM staff WHERE pay > (SELECT avg(pay) FROM staff)"),
        (
            "SELECT name FROM staff WHERE age = 34",
            "SELECT name FROM staff WHERE age = (SELECT max(age) - 18 FROM staff)",
        ),
    ],
)
def test_a_query_that_agrees_on_the_given_rows_only_is_not_paid(engine: str, answer: str, gold: str) -> None:
    assert judged(answer, gold, engine=engine).score == 0.0


@ENGINES
@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("SELECT name FROM staff WHERE NOT age < 30", "SELECT name FROM staff WHERE age >= 30"),
        ("SELECT name FROM staff WHERE age > 29", "SELECT name FROM staff WHERE age >= 30"),
        ("SELECT s.name FROM staff AS s WHERE s.team LIKE 'data'", "SELECT name FROM staff WHERE team = 'data'"),
        (
            "SELECT name FROM staff WHERE team IN ('web', 'ops')",
            "SELECT name FROM staff WHERE team = 'web' OR team = 'ops'",
        ),
        ("SELECT max(pay) FROM staff", "SELECT pay FROM staff ORDER BY pay DESC LIMIT 1"),
        (
            "SELECT name FROM staff WHERE pay = (SELECT max(pay) FROM staff)",
            "SELECT name FROM staff ORDER BY pay DESC LIMIT 1",
        ),
        ("SELECT avg(age) FROM staff", "SELECT sum(age) * 1.0 / count(*) FROM staff"),
        ("SELECT count(name) FROM staff", "SELECT count(*) FROM staff"),
        ("SELECT team, count(id) FROM staff GROUP BY team", "SELECT team, count(*) FROM staff GROUP BY team"),
        ("SELECT DISTINCT team FROM staff", "SELECT team FROM staff GROUP BY team"),
        ("SELECT DISTINCT name FROM staff WHERE age > 30", "SELECT name FROM staff WHERE age > 30"),
        (
            "WITH old AS (SELECT * FROM staff WHERE age >= 40) SELECT name FROM old",
            "SELECT name FROM staff WHERE age >= 40",
        ),
        ("SELECT name FROM staff WHERE age BETWEEN 28 AND 41", "SELECT name FROM staff WHERE age >= 28 AND age <= 41"),
        ("SELECT pay FROM staff WHERE name = 'Fay'", "SELECT pay FROM staff WHERE name LIKE 'fay'"),
        ("SELECT name FROM staff ORDER BY age, name", "SELECT name FROM staff ORDER BY age ASC, name ASC"),
        (
            "SELECT a.name FROM staff a JOIN staff b ON a.age > b.age WHERE b.name = 'Ada'",
            "SELECT name FROM staff WHERE age > (SELECT age FROM staff WHERE name = 'Ada')",
        ),
    ],
)
def test_a_right_query_of_another_form_is_paid(engine: str, answer: str, gold: str) -> None:
    if engine == "duckdb" and "LIKE 'fay'" in gold:
        gold = gold.replace("LIKE", "ILIKE")
    verdict = judged(answer, gold, engine=engine)
    assert verdict.score == 1.0, verdict.reason


def test_a_file_is_not_changed_by_its_copies(tmp_path: Path) -> None:
    path = tmp_path / "staff.db"
    connection = sqlite3.connect(path)
    connection.executescript(STAFF)
    connection.close()
    before = path.read_bytes()
    gold = "SELECT name FROM staff WHERE age >= 30"
    assert judged("SELECT name FROM staff WHERE age > 30", gold, str(path)).score == 0.0
    assert judged("SELECT name FROM staff WHERE NOT age < 30", gold, str(path)).score == 1.0
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["staff.db"]


def test_the_comparison_on_copies_can_be_switched_off() -> None:
    answer, gold = "SELECT name FROM staff WHERE age > 30", "SELECT name FROM staff WHERE age >= 30"
    assert judged(answer, gold, check_constants=False).score == 1.0
