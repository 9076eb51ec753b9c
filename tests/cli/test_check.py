"""`rlpost check` from the outside: output, exit codes, and what it does not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import rlpost
from rlpost.cli.main import INTERRUPTED, Commands, app
from rlpost.errors import GateError

ROOT = Path(__file__).parents[2]
VALID = ROOT / "tests" / "recipe" / "valid.yaml"
LAPTOP = ROOT / "ray_configs" / "laptop.yaml"


def test_a_recipe_that_fits_prints_its_arithmetic_and_exits_with_0() -> None:
    result = CliRunner().invoke(app, ["check", str(VALID), "--cluster", str(LAPTOP), "--set", "stages.grpo.steps=3"])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("cluster laptop: 1 learner rank on cpu, 1 rollout actor on cpu")
    assert "3 steps x 8 prompts x 4 samples = 96 responses" in result.stdout
    assert result.stderr == ""


def test_the_command_runs_as_a_module_without_torch_ray_or_vllm() -> None:
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['rlpost', 'check', {str(VALID)!r}, '--cluster', {str(LAPTOP)!r}]\n"
        "try:\n    runpy.run_module('rlpost', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'ray', 'vllm', 'transformers', 'datasets', 'math_verify', 'sympy', 'reasoning_gym'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "stage 3: grpo (grpo)" in done.stdout


def test_a_wrong_recipe_is_refused_on_stderr_without_a_traceback() -> None:
    command = [sys.executable, "-m", "rlpost", "check", str(VALID), "--set", "seed=x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "tests/recipe/valid.yaml: 1 problem",
        "  --set seed: seed: expected a whole number, found the text 'x'",
    ]


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"{rlpost.__version__}\n")


@pytest.mark.parametrize(
    ("raised", "exit_code", "message"),
    [
        (GateError("pass@1 is 0.1, below 0.3"), 3, "pass@1 is 0.1, below 0.3"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
    ],
)
def test_an_error_for_a_person_ends_in_its_message_and_exit_code(
    raised: BaseException, exit_code: int, message: str
) -> None:
    failing = typer.Typer(cls=Commands)

    @failing.callback()
    def root() -> None: ...

    @failing.command()
    def fail() -> None:
        raise raised

    result = CliRunner().invoke(failing, ["fail"])
    assert (result.exit_code, result.stderr.strip()) == (exit_code, message)


def test_a_bug_keeps_its_traceback() -> None:
    failing = typer.Typer(cls=Commands)

    @failing.callback()
    def root() -> None: ...

    @failing.command()
    def fail() -> None:
        raise AssertionError("a bug")

    assert isinstance(CliRunner().invoke(failing, ["fail"]).exception, AssertionError)
