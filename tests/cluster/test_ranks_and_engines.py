"""The whole pipeline on two learner ranks and on two engines: the same recipe, another cluster file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from whole_runs import (
    ROOT,
    SMOKE,
    copy_without,
    open_to_others,
    read_json,
    records,
    run_recipe,
    start_recipe,
    wait_for_line,
)

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(400)]
CONFIGS = ROOT / "ray_configs"


ONE_ENGINE = {
    "name": "one-engine",
    "learner": {"ranks": 1, "threads": 1},
    "rollout": {"actors": 1, "threads": 1},
}
"""`two_actors.yaml` but for the number of engines: on another number of threads, sums are rounded otherwise."""


def options_of(cluster: Path) -> list[str]:
    return ["--cluster", str(cluster), "--set", "stages.grpo.steps=2"]


def rl_on(cluster: Path, run: Path, output: Path) -> list[dict[str, float]]:
    """GRPO's records of two steps, from the stages before it of a finished run."""
    ended = run_recipe(SMOKE, copy_without(run, output, "04-grpo"), *options_of(cluster))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert ended.stdout.count("skipped") == 3
    return records(output / "stages" / "04-grpo" / "metrics.jsonl")


class TwoRanks(NamedTuple):
    """A run on two ranks and an engine."""

    output: Path
    open_to_others: set[str]
    """While all of its parts were at work."""


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> TwoRanks:
    folder = tmp_path_factory.mktemp("two_ranks")
    output, said = folder / "run", folder / "said.txt"
    run = start_recipe(SMOKE, output, *options_of(CONFIGS / "two_ranks.yaml"), said=said)
    under_way = output / "stages" / "04-grpo.partial" / "metrics.jsonl"
    wait_for_line(under_way, lines=1, process=run, timeout_s=240)
    found = open_to_others(run)
    assert run.wait(timeout=120) == 0, said.read_text()[-3000:]
    return TwoRanks(output, found)


def test_a_run_of_its_own_cluster_listens_on_loopback_only(two_ranks: TwoRanks) -> None:
    assert two_ranks.open_to_others == set()


def test_two_engines_give_the_bits_of_one(smoke_run: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(json.dumps(ONE_ENGINE))
    one = rl_on(tmp_path / "one.yaml", smoke_run, tmp_path / "one")
    two = rl_on(CONFIGS / "two_actors.yaml", smoke_run, tmp_path / "two")
    assert 0 < one[0]["reward"] < 1
    assert two[0]["reward"] == one[0]["reward"]
    assert two[0]["response_tokens"] == one[0]["response_tokens"]


def test_two_ranks_have_the_losses_of_one(smoke_run: Path, two_ranks: TwoRanks) -> None:
    for stage in ("01-cpt", "02-sft"):
        straight = records(smoke_run / "stages" / stage / "metrics.jsonl")
        split = records(two_ranks.output / "stages" / stage / "metrics.jsonl")
        for a, b in zip(straight[:10], split[:10], strict=True):
            assert b["loss"] == pytest.approx(a["loss"], rel=2e-3)
    scores = [stage["scores"].get("pass@1") for stage in read_json(two_ranks.output / "summary.json")["stages"]]
    assert [score is not None for score in scores] == [True] * 4
