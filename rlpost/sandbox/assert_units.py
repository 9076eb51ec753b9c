"""Splits the text of asserts into statements that are judged one by one and statements that only prepare them.

A unit is a top-level statement that asserts: an `assert`; a loop, `if`, `with` or `try` that contains one; a call of a
function of the tests that contains one (`check(candidate)`); or a function `test_...` without parameters that nothing
calls. All other statements run in their order and judge nothing.
"""

from __future__ import annotations

import ast
from types import CodeType
from typing import NamedTuple

LONGEST_TEXT = 80
PROGRAM_MODULES = ("solution", "main", "program")
"""Imports such as `from solution import *` name the program itself, whose names the tests have anyway."""


class UnreadableTestsError(Exception):
    """The tests cannot judge any program."""


class Unit(NamedTuple):
    """One top-level statement of the tests."""

    code: CodeType
    text: str
    """Its source, shortened for display."""
    counts: bool
    """Whether it asserts; otherwise it only prepares."""


def split_units(tests: str) -> list[Unit]:
    """Return all statements in their order, then the test functions that nothing calls.

    Raises:
        UnreadableTestsError: the text is not Python, or asserts nothing.
    """
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableTestsError(f"the tests are not Python: {error!s:.200}") from error
    statements = [kept for statement in tree.body for kept in _without_program_import(statement)]
    asserting = {
        statement.name for statement in statements if isinstance(statement, ast.FunctionDef) and _asserts(statement)
    }
    units = [_unit(statement, counts=_judges(statement, asserting)) for statement in statements]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for name in [statement.name for statement in statements if isinstance(statement, ast.FunctionDef)]:
        if name.startswith("test") and name in asserting - called:
            units.append(_unit(ast.parse(f"{name}()").body[0], counts=True))
    if not any(unit.counts for unit in units):
        raise UnreadableTestsError("the tests have no assert")
    return units


def _judges(statement: ast.stmt, asserting: set[str]) -> bool:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    calls = (node.func for node in ast.walk(statement) if isinstance(node, ast.Call))
    return _asserts(statement) or any(isinstance(call, ast.Name) and call.id in asserting for call in calls)


def _asserts(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(statement))


def _unit(statement: ast.stmt, *, counts: bool) -> Unit:
    try:
        code = compile(ast.Module(body=[statement], type_ignores=[]), "tests.py", "exec", dont_inherit=True)
        text = " ".join(ast.unparse(statement).split())[:LONGEST_TEXT]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableTestsError(f"the tests are not Python: {error!s:.200}") from error
    return Unit(code=code, text=text, counts=counts)


def _without_program_import(statement: ast.stmt) -> list[ast.stmt]:
    """Replace an import from the program by assignments for the names that it renames, if any."""
    if not isinstance(statement, ast.ImportFrom) or statement.module not in PROGRAM_MODULES:
        return [statement]
    renamed = [(alias.asname, alias.name) for alias in statement.names if alias.asname]
    return [ast.parse(f"{new} = {old}").body[0] for new, old in renamed]
