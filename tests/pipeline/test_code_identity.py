"""The code behind a verifier is its file, its helpers however far away, versions of libraries."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlpost.pipeline import code_identity
from rlpost.pipeline.code_identity import code_of_function, code_of_reference, library_versions

COUNTER = itertools.count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own name on the import path: judge -> near -> far, and `unused` that nobody imports."""
    folder = tmp_path / f"judges_of_a_test_{next(COUNTER)}"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "deep" / "__init__.py").write_text("")
    (folder / "judge.py").write_text("from .near import helper\n\ndef judge():\n    return helper()\n")
    (folder / "near.py").write_text(f"import json\nimport numpy\nfrom {folder.name}.deep import far\nhelper = far.f\n")
    (folder / "deep" / "far.py").write_text("def f():\n    from beside_the_package import late\n    return late\n")
    (folder / "unused.py").write_text("x = 1\n")
    (tmp_path / "beside_the_package.py").write_text("late = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def judge_of(package: Path) -> Callable[..., Any]:
    return importlib.import_module(f"{package.name}.judge").judge


@pytest.mark.parametrize(
    "file", ["judge.py", "near.py", "deep/far.py", "deep/__init__.py", "__init__.py", "../beside_the_package.py"]
)
def test_a_change_of_a_module_that_the_judge_imports_changes_its_identity(package: Path, file: str) -> None:
    before = code_of_function(judge_of(package))
    assert code_of_function(judge_of(package)) == before
    changed = package / file
    changed.write_text(changed.read_text() + "# other\n")
    assert code_of_function(judge_of(package)) != before
    assert code_of_reference(f"{package.name}.judge:judge") == code_of_function(judge_of(package))


def test_what_is_not_imported_does_not_count(package: Path) -> None:
    before = code_of_function(judge_of(package))
    (package / "unused.py").write_text("x = 2\n")
    assert code_of_function(judge_of(package)) == before


def test_a_library_counts_by_its_version_and_the_standard_library_not_at_all(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = code_of_function(judge_of(package))
    assert identity["numpy"] == importlib.import_module("numpy").__version__
    assert not {"json", "rlpost"} & set(identity)
    library_versions.cache_clear()
    monkeypatch.setattr(code_identity, "version", lambda name: "another")
    assert code_of_function(judge_of(package)) == {**identity, "numpy": "another"}
    library_versions.cache_clear()


def test_a_shipped_verifier_counts_with_its_helpers() -> None:
    identity = code_of_reference("rewards.math:equivalent")
    assert {"rewards.extraction", "sympy", "math-verify"} <= set(identity)


def test_a_file_counts_wherever_it_lies(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text("import numpy\n\ndef mine(): ...\n")
    first, second = (code_of_reference(f"{tmp_path / folder / 'own.py'}:mine") for folder in ("one", "two"))
    assert first == second and "numpy" in first


def test_a_function_of_python_itself_has_no_code(tmp_path: Path) -> None:
    assert code_of_function(len) == {}
    with pytest.raises(FileNotFoundError, match="no_such_module_of_a_test has no source"):
        code_of_reference("no_such_module_of_a_test:f")
