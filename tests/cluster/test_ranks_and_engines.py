"""The whole pipeline on two learner ranks and on two engines: the same recipe, another cluster file."""

from __future__ import annotations

from pathlib import Path

import pytest
from whole_runs import ROOT, read_json, records, run_recipe

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(400)]
SMOKE = ROOT / "recipes" / "smoke.yaml"


def run_on(cluster: str, output: Path) -> list[dict[str, float]]:
    """GRPO's records of the smoke recipe, with two steps of RL."""
    options = ["--cluster", f"ray_configs/{cluster}.yaml", "--set", "stages.grpo.steps=2"]
    ended = run_recipe(SMOKE, output, *options)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return records(output / "stages" / "04-grpo" / "metrics.jsonl")


def test_two_engines_give_the_bits_of_one_and_two_ranks_the_losses_of_one(tmp_path: Path) -> None:
    one = run_on("laptop", tmp_path / "one")

    two_engines = run_on("two_actors", tmp_path / "two_engines")
    assert two_engines[0]["reward"] == one[0]["reward"]
    assert two_engines[0]["response_tokens"] == one[0]["response_tokens"]

    run_on("two_ranks", tmp_path / "two_ranks")
    for stage in ("01-cpt", "02-sft"):
        straight = records(tmp_path / "one" / "stages" / stage / "metrics.jsonl")
        split = records(tmp_path / "two_ranks" / "stages" / stage / "metrics.jsonl")
        for a, b in zip(straight[:10], split[:10], strict=True):
            assert b["loss"] == pytest.approx(a["loss"], rel=2e-3)
    scores = [stage["scores"].get("pass@1") for stage in read_json(tmp_path / "two_ranks" / "summary.json")["stages"]]
    assert [score is not None for score in scores] == [True] * 4
