"""A project whose own `rewards/` and `rewards.py` lie in the working directory, first on `sys.path`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
OWN = "raise RuntimeError('a module of the project was imported')\n"
OWN_VERIFIER = """
from rewards.extraction import final_answer
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import verifier

@verifier(name="own", version="1", isolation="process")
def own(sample: Sample) -> Verdict:
    return Verdict(score=float(final_answer.__module__ == "rewards.extraction"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "rewards").mkdir()
    for name in ("rewards/__init__.py", "rewards.py", "rewards/math.py"):
        (tmp_path / name).write_text(OWN)
    (tmp_path / "rewards" / "own.py").write_text(OWN_VERIFIER)
    row = {"prompt": "2+2", "response": r"\boxed{4}", "gold": "4"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def rlpost(*arguments: str, project: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as `python -m rlpost`, which puts the working directory first on `sys.path`."""
    path = os.pathsep.join((str(project), str(REPOSITORY)))
    return subprocess.run(
        [sys.executable, "-m", "rlpost", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("verifier", ["math.equivalent", "rewards.math:equivalent", "rewards/own.py"])
def test_a_verifier_judges_in_its_worker_beside_a_package_called_rewards(project: Path, verifier: str) -> None:
    scored = rlpost("reward", "score", verifier, "--cases", "cases.jsonl", "--json", project=project)
    [verdict] = [json.loads(line) for line in scored.stdout.splitlines()]
    assert (verdict["score"], verdict["fault"]) == (1.0, None), scored.stderr


def test_a_recipe_is_checked_beside_a_package_called_rewards(project: Path) -> None:
    checked = rlpost("check", str(REPOSITORY / "recipes" / "quickstart.yaml"), project=project)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_self_test_of_a_verifier_passes_beside_a_package_called_rewards(project: Path) -> None:
    tested = rlpost("reward", "test", "number.close", project=project)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed, 0 failed" in tested.stdout
