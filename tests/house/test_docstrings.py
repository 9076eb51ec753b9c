"""Docstrings begin as sentences do: with a verb or a subject, never with a preposition or a clause."""

from __future__ import annotations

import ast

import pytest
from tracked_files import text_of, tracked

NO_BEGINNING = {"Of", "What", "With", "As", "None", "That"}


def first_words(source: str) -> list[tuple[int, str]]:
    """(line, first word) of every docstring, those below fields included."""
    bodies = [node.body for node in ast.walk(ast.parse(source)) if isinstance(getattr(node, "body", None), list)]
    texts = [
        (statement.lineno, statement.value.value.split())
        for body in bodies
        for statement in body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if isinstance(statement.value.value, str)
    ]
    return [(line, words[0].strip(",:;")) for line, words in texts if words]


def test_no_docstring_begins_in_the_middle_of_a_sentence() -> None:
    found = {
        str(path): first_words(text_of(path)) for path in tracked("rlpost/*.py", "rewards/*.py", "benchmarks/*.py")
    }
    assert sum(map(len, found.values())) > 2000
    bad = {f"{path}:{line}": word for path, words in found.items() for line, word in words if word in NO_BEGINNING}
    assert bad == {}


@pytest.mark.parametrize(
    "text", ['"""Of a row."""', 'def f():\n    """What it is."""', 'class A:\n    x: int\n    """With y."""']
)
def test_the_rule_sees_modules_functions_and_fields(text: str) -> None:
    assert [word for _, word in first_words(text)] == [word for word in ("Of", "What", "With") if word in text]
