from __future__ import annotations

import json
import os
import platform

import pytest
import typer
from typer.testing import CliRunner

from rlpost.cli import doctor as module
from rlpost.cli.doctor import doctor
from rlpost.sandbox.self_test import ATTACKS, Containment


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(doctor)
    found = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert found.exit_code == 0
    return found.output


def test_it_says_what_the_machine_has_and_what_contains_programs() -> None:
    found = json.loads(run("--json"))
    assert found["python"] == platform.python_version()
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["libraries"]["torch"]
    assert found["memory_gib"] > 0
    assert found["containment"]["holds"] is True
    assert found["containment"]["checks"] == dict.fromkeys(ATTACKS, "contained")


def test_a_person_gets_lines() -> None:
    lines = run().splitlines()
    assert lines[0].startswith("rlpost ")
    assert any(line.startswith("model-written programs: contained by ") for line in lines)
    assert "  print 200 MB: contained" in lines


def test_a_machine_that_contains_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Containment(holds=False, checks={}, refusal="no namespaces", seconds=0.1)
    monkeypatch.setattr(module, "containment", lambda: refused)
    assert "model-written programs: REFUSED on this machine. no namespaces" in run().splitlines()


def test_a_missing_extra_is_named_with_its_remedy() -> None:
    verifiers = {
        "a.one": {"extra": "chem", "missing": ["rdkit"]},
        "a.two": {"extra": "chem", "missing": []},
        "b": {"extra": "sql", "missing": []},
    }
    lines = list(module.lines_of(module.examined() | {"verifiers": verifiers}))
    assert "extra chem (for a.one, a.two): lacks rdkit: pip install 'rlpost[chem]'" in lines
    assert "extra sql (for b): present" in lines
