"""`rlpost check` loads and tries the plug-ins of a recipe, and says in one line what is wrong with one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlpost.cli.main import app
from rlpost.recipe.load import load_recipe

VALID = Path(__file__).parents[1] / "recipe" / "valid.yaml"
ADVANTAGE = """
from __future__ import annotations
import numpy as np
def mine(groups, /, *, scale: float = 1.0):
    return [[np.full(len(p), scale * s) for s, p in zip(g.scores_G, g.penalties_GT)] for g in groups]
"""
LOSS = """
from __future__ import annotations
import torch
from rlpost.losses.authoring import LossInputs, SurrogateTokens, surrogate
@surrogate(columns=["advantages_T"])
def mine(inputs: LossInputs, *, log_ratios_T: torch.Tensor, cap: float = 5.0) -> SurrogateTokens:
    return SurrogateTokens(-log_ratios_T, torch.zeros_like(log_ratios_T, dtype=torch.bool))
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(ADVANTAGE)
    (tmp_path / "loss.py").write_text(LOSS)
    path = tmp_path / "recipe.yaml"
    plugins = "{advantage: {scheme: 'own.py:mine'}, loss: {kind: 'loss.py:mine'}}"
    path.write_text(f"extends: {VALID}\nstages:\n  grpo: {plugins}\n")
    return path


def checked(recipe: Path, *overrides: str) -> tuple[int, str]:
    options = [word for text in overrides for word in ("--set", f"stages.grpo.{text}")]
    result = CliRunner().invoke(app, ["check", str(recipe), *options])
    return result.exit_code, result.stdout + result.stderr


def test_a_recipe_with_plugins_of_files_beside_it_is_described(recipe: Path) -> None:
    code, output = checked(recipe, "advantage.params={scale: 2}")
    assert code == 0, output
    assert f"advantages {recipe.parent}/own.py:mine (scale: 2), loss {recipe.parent}/loss.py:mine, one mean" in output


def test_files_are_absolute_in_the_resolved_recipe_and_as_written_in_its_hash(recipe: Path) -> None:
    loaded = load_recipe(recipe, overrides=[])
    stage = loaded.resolved["stages"][-1]
    assert stage["advantage"]["scheme"] == f"{recipe.parent}/own.py:mine"
    assert stage["loss"]["kind"] == f"{recipe.parent}/loss.py:mine"
    moved = recipe.parent / "moved"
    moved.mkdir()
    for name in ("own.py", "loss.py", "recipe.yaml"):
        (recipe.parent / name).rename(moved / name)
    assert load_recipe(moved / "recipe.yaml", overrides=[]).recipe_hash == loaded.recipe_hash


def test_an_advantage_of_ones_own_is_checked_without_torch(recipe: Path) -> None:
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['rlpost', 'check', {str(recipe)!r}, '--set', 'stages.grpo.loss={{kind: ppo_clip}}']\n"
        "try:\n    runpy.run_module('rlpost', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'ray', 'vllm'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("advantage.scheme=none.py:mine", "advantage.scheme: the advantage's file must be readable; found"),
        ("advantage.scheme=own.py:mien", "own.py has no `mien`: did you mean `mine`?"),
        ("advantage.scheme=own.py:np", "own.py:np must be a function of the scores of all groups; found module"),
        ("advantage.scheme=no.such_module:mine", "the module no.such_module must be importable"),
        ("advantage.params={scael: 1}", "own.py:mine has no parameter `scael`: did you mean `scale`?"),
        ("advantage.params={scale: x}", "own.py:mine do not fit: scale: Input should be a valid number"),
        ("loss.kind=none.py:mine", "loss.kind: the loss's file must be readable; found"),
        ("loss.kind=own.py:mine", "own.py:mine must be a surrogate; found function: decorate it with @surrogate"),
        ("loss.params={gap: 1}", "mine has no parameter `gap`: did you mean `cap`?"),
    ],
)
def test_a_plugin_that_is_not_there_or_does_not_fit_is_one_problem(
    recipe: Path, override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recipe.parent)
    code, output = checked(recipe, override)
    assert code == 2, output
    assert "1 problem\n" in output
    assert message in output


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [[p * np.nan for p in g.penalties_GT] for g in groups]", "a finite number for each token of sample 0"),
        ("return groups", "must return one array for each of the 4 samples of group 0; found a GroupScores"),
        (
            "return [[p for p in g.penalties_GT] for g in groups[1:]]",
            "one list for each of the 4 groups; found a list of 3",
        ),
        (
            "return [[p[:1] for p in g.penalties_GT] for g in groups]",
            "of shape [2], a finite number for each token",
        ),
        ("return [list(g.scores_G) for g in groups]", "token of sample 0 of group 0; found a float64"),
        ("return [[p > 0 for p in g.penalties_GT] for g in groups]", "found an array of shape [1] and type bool"),
        (
            "return [[p / g.scores_G.max() for p in g.penalties_GT] for g in groups if g.scores_G.max()]",
            "it raised ValueE",
        ),
        ("return [[p + 1e300 for p in g.penalties_GT] for g in groups]", "found 1e+300, which float32 cannot hold"),
        ("return {}['score']", "on groups of 4, 2, 1, 0 samples it raised KeyError: 'score' (line 3 of own.py)"),
        ("raise SystemExit", "it raised SystemExit (line 3 of own.py)"),
    ],
)
def test_an_advantage_that_breaks_its_contract_is_refused_before_anything_starts(
    recipe: Path, body: str, message: str
) -> None:
    (recipe.parent / "own.py").write_text(f"import numpy as np\ndef mine(groups, /):\n    {body}\n")
    code, output = checked(recipe)
    assert code == 2, output
    assert "stages[grpo].advantage.scheme: the advantage" in output
    assert message in output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import sys\nsys.exit(0)\n", "own.py must load without an error; it raised SystemExit: 0 (line 2 of own.py)"),
        ("import helper_of_own\n", "No module named 'helper_of_own' (line 1 of own.py): a file that is named by its p"),
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all' (line 1 of own.py)\n"),
    ],
)
def test_a_file_that_does_not_load_is_refused_with_the_line(recipe: Path, content: str, message: str) -> None:
    (recipe.parent / "helper_of_own.py").write_text("")
    (recipe.parent / "own.py").write_text(content)
    code, output = checked(recipe)
    assert code == 2, output
    assert message in output


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "losses_T",
            "must return SurrogateTokens(losses_T, clipped_T), a number and a boolean for each of the 5 tokens",
        ),
        ("SurrogateTokens(losses_T.mean(), no_T)", "found losses_T of shape []"),
        ("SurrogateTokens(losses_T, losses_T)", "found clipped_T of dtype torch.float32"),
        ("SurrogateTokens(losses_T, None)", "found clipped_T of type NoneType"),
        ("SurrogateTokens(losses_T / 0, no_T)", "must give every token a finite loss; found"),
        ("SurrogateTokens((losses_T - losses_T.detach()).sqrt(), no_T)", "must have a finite gradient in the log-prob"),
        ("SurrogateTokens(losses_T.detach(), no_T)", "must have a gradient; found none: compute losses_T from log_r"),
        ("SurrogateTokens(losses_T - losses_T.max(), no_T)", "none too; on 0 it raised RuntimeError"),
        ("SurrogateTokens(losses_T - losses_T.mean(), no_T)", "the same loss whatever shares its micro-batch, which"),
        ("SurrogateTokens(losses_T * inputs['advantages_T'].abs_(), no_T)", "must leave its inputs as they are; it ch"),
        ("sys.exit(0)", "on 5 it raised SystemExit: 0 (line 9 of loss.py)"),
        ("SurrogateTokens(losses_T * inputs['returns_T'], no_T)", "must declare the columns that it reads"),
    ],
)
def test_a_loss_that_breaks_its_contract_is_refused_before_anything_starts(
    recipe: Path, body: str, message: str
) -> None:
    (recipe.parent / "loss.py").write_text(
        LOSS.split("    return", maxsplit=1)[0]
        + f"    import sys\n    losses_T, no_T = -log_ratios_T, log_ratios_T > 99\n    return {body}\n"
    )
    code, output = checked(recipe)
    assert code == 2, output
    assert "stages[grpo].loss.kind: " in output
    assert message in output


@pytest.mark.parametrize(
    ("column", "override", "code"),
    [
        ("returns_T", "kl.coefficient=0.1", 2),
        ("reference_logprobs_T", "kl.coefficient=0", 2),
        ("reference_logprobs_T", "kl.coefficient=0.1", 0),
        ("entropies_T", "kl.coefficient=0.1", 2),
    ],
)
def test_a_column_that_the_stage_does_not_fill_in_is_named(recipe: Path, column: str, override: str, code: int) -> None:
    loss = recipe.parent / "loss.py"
    loss.write_text(LOSS.replace('columns=["advantages_T"]', f'columns=["advantages_T", "{column}"]'))
    found, output = checked(recipe, override)
    assert found == code, output
    assert (f"this stage does not fill in {column}: it fills in advantages_T, beh" in output) == (code == 2)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("groups, scale", "after `groups` must be keyword-only with a type and a default; found `scale`"),
        ("", "must take one positional argument; found no parameter"),
        ("groups, /, *, scale: Unknown = 1", "must be known when it is loaded; found name 'Unknown' is not defined"),
    ],
)
def test_a_signature_of_another_form_is_refused(recipe: Path, signature: str, message: str) -> None:
    (recipe.parent / "own.py").write_text(f"from __future__ import annotations\ndef mine({signature}): ...\n")
    code, output = checked(recipe)
    assert code == 2, output
    assert message in output
