"""A test that cannot fail is worse than none."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from pathlib import Path

from tracked_files import text_of, tracked

EXPECTATIONS = {"raises", "warns"}


def expects_something(function: ast.AST, *, helpers: Set[str]) -> bool:
    """Whether it asserts, or calls one of `helpers`, pytest's or numpy's expectations."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in EXPECTATIONS | helpers or name.startswith("assert_"):
                return True
    return False


def hollow_tests(source: str) -> Iterator[str]:
    """Names of the tests of one file that expect nothing, themselves or through a function beside them."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    helpers = {function.name for function in functions if expects_something(function, helpers=set())}
    for function in functions:
        if function.name.startswith("test_") and not expects_something(function, helpers=helpers):
            yield f"{function.name}, line {function.lineno}"


def test_every_test_expects_something() -> None:
    files = tracked("tests/**/test_*.py")
    assert Path("tests/house/test_tests.py") in files
    assert [f"{path}: {name}" for path in files for name in hollow_tests(text_of(path))] == []


def test_a_hollow_test_is_found() -> None:
    source = "def helper(x): assert x\ndef test_full(): helper(1)\ndef test_hollow(): print(1)\n"
    assert list(hollow_tests(source)) == ["test_hollow, line 3"]


def test_files_of_the_tests_have_names_of_their_own() -> None:
    # All folders of tests share one import path, where a second file of a name would hide behind the first.
    names = [path.name for path in tracked("tests/*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
