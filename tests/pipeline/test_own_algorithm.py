"""The recipe of `docs/write-an-algorithm.md` on the real parts: a learner rank loads the loss's file by itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from guide_steps import write_files
from whole_runs import records, run_recipe

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]


def test_an_advantage_and_a_loss_of_files_train_a_model(tmp_path: Path) -> None:
    write_files("write-an-algorithm.md", tmp_path)
    output = tmp_path / "run"
    ended = run_recipe(tmp_path / "recipe.yaml", output)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    steps = records(output / "stages" / "01-rl" / "metrics.jsonl")
    assert len(steps) == 3
    assert all(math.isfinite(step["loss"]) and step["grad_norm"] > 0 for step in steps)
    assert [step["clip_fraction"] for step in steps] == [0, 0, 0], "a soft gate clips nothing"
