"""A file is read in one sitting, a function on one screen."""

from __future__ import annotations

import ast

from tracked_files import text_of, tracked

FILE_LINES = 400
FUNCTION_LINES = 60


def test_no_python_file_is_longer_than_one_sitting() -> None:
    lengths = {str(path): len(text_of(path).splitlines()) for path in tracked("*.py")}
    assert lengths["rlpost/records.py"] > 100
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_one_screen() -> None:
    lengths = {
        f"{path}:{function.lineno} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in tracked("rlpost/*.py", "rewards/*.py", "benchmarks/*.py")
        for function in ast.walk(ast.parse(text_of(path)))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lengths) > 100
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}
