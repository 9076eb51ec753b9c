"""Learner ranks and engines are killed in the middle of a real run, and it ends as if they had not been."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from whole_runs import SMOKE, read_json, records, start_recipe, verify_ledger, wait_for_line

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]
LAST = Path("stages") / "04-grpo"


def kill(run: int, role: str) -> int:
    """SIGKILL to the run's one process of this role; returns its pid."""
    children = psutil.Process(run).children(recursive=True)
    (found,) = [child.pid for child in children if any(role in part for part in child.cmdline())]
    os.kill(found, signal.SIGKILL)
    return found


def test_a_run_outlives_its_learner_and_its_engine_and_ends_with_the_same_bits(smoke_run: Path, tmp_path: Path) -> None:
    output, said = tmp_path / "run", tmp_path / "said.txt"
    options = ["--set", "stages.sft.learner.checkpoint_every=20", "--set", "stages.grpo.learner.checkpoint_every=1"]
    run = start_recipe(SMOKE, output, *options, said=said)
    wait_for_line(output / "stages" / "02-sft.partial" / "metrics.jsonl", lines=50, process=run, timeout_s=120)
    kill(run.pid, "ray::LearnerActor")
    wait_for_line(output / f"{LAST}.partial" / "metrics.jsonl", lines=2, process=run, timeout_s=240)
    kill(run.pid, "ray::GeneratorActor")
    wait_for_line(output / f"{LAST}.partial" / "metrics.jsonl", lines=3, process=run, timeout_s=120)
    kill(run.pid, "ray::LearnerActor")
    assert run.wait(timeout=240) == 0, said.read_text()[-3000:]

    told = said.read_text()
    assert "sft: learner rank 0 died in step; all ranks start again from the last checkpoint" in told
    assert "rollout actor rollout-0 was lost while it was serving" in told
    assert "rollout actor rollout-0 serves" in told
    assert told.count("all ranks start again from the last checkpoint") == 2
    weights = [folder / LAST / "model" / "model.safetensors" for folder in (smoke_run, output)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert records(smoke_run / LAST / "metrics.jsonl") == records(output / LAST / "metrics.jsonl")
    assert verify_ledger(output) == verify_ledger(smoke_run)
    assert (smoke_run / LAST / "ledger.jsonl").read_text() == (output / LAST / "ledger.jsonl").read_text()
    scores = [read_json(folder / "summary.json")["stages"][-1]["scores"] for folder in (smoke_run, output)]
    assert scores[0] == scores[1]
