"""The real pipeline at a smaller size: Ray, vLLM, FSDP2 and math-verify, through the command line."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from whole_runs import (
    SMOKE,
    end_with,
    parts_of,
    read_json,
    records,
    run_recipe,
    start_recipe,
    still_alive,
    verify_ledger,
    wait_for_line,
)

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]
STAGES = ["01-cpt", "02-sft", "03-dpo", "04-grpo"]


def test_summary_holds_every_stage_with_its_scores_and_lineage(smoke_run: Path) -> None:
    summary = read_json(smoke_run / "summary.json")
    stages = summary["stages"]
    assert [stage["name"] for stage in stages] == ["cpt", "sft", "dpo", "grpo"]
    for parent, stage in itertools.pairwise([summary["base"], *stages]):
        assert stage["parents"] == {parent["name"]: parent["model_hash"]}
        assert 0 <= stage["scores"]["pass@1"] <= 1
    assert stages[1]["scores"]["pass@1"] > stages[0]["scores"]["pass@1"]


def test_one_verifier_filters_demonstrations_makes_pairs_rewards_and_evaluates(smoke_run: Path) -> None:
    stages = smoke_run / "stages"
    assert (stages / "02-sft" / "left_out.jsonl").read_text() == "", "worked solutions are right"
    judged = [stages / "03-dpo" / "samples.jsonl", stages / "04-grpo" / "samples.jsonl"]
    judged += [stages / name / "evaluation.jsonl" for name in STAGES]
    for path in judged:
        answers = [answer for line in path.read_text().splitlines() for answer in json.loads(line)["responses"]]
        assert {answer["verifier"] for answer in answers} == {"math.equivalent@3"}, path


def test_every_stage_learned_something(smoke_run: Path) -> None:
    for stage in ("01-cpt", "02-sft"):
        losses = [record["loss"] for record in records(smoke_run / "stages" / stage / "metrics.jsonl")]
        assert losses[-1] < 0.7 * losses[0]
    margins = [record["margin"] for record in records(smoke_run / "stages" / "03-dpo" / "metrics.jsonl")]
    assert margins[0] == pytest.approx(0, abs=1e-5)
    # One step has eight pairs, and the last one fewer.
    assert sum(margins[len(margins) // 2 :]) > 0


def test_generator_and_learner_agreed_at_every_step_of_rl(smoke_run: Path) -> None:
    steps = records(smoke_run / "stages" / "04-grpo" / "metrics.jsonl")
    assert [step["step"] for step in steps] == [0, 1, 2, 3, 4]
    assert max(step["parity/max"] for step in steps) < 1e-4
    assert max(step["logprob_gap_max"] for step in steps if "logprob_gap_max" in step) < 1e-4


def test_the_ledger_of_rl_accounts_for_every_prompt(smoke_run: Path) -> None:
    assert verify_ledger(smoke_run).startswith("04-grpo: finished; 5 steps, ")


def test_trained_model_answers_through_transformers_as_it_did_in_the_evaluation(smoke_run: Path) -> None:
    stage = smoke_run / "stages" / "04-grpo"
    tokenizer = AutoTokenizer.from_pretrained(stage / "model")
    model = AutoModelForCausalLM.from_pretrained(stage / "model")
    lines = (stage / "evaluation.jsonl").read_text().splitlines()
    for record in map(json.loads, lines[:5]):
        inputs = tokenizer.apply_chat_template(
            record["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            output = model.generate(**inputs, max_new_tokens=48, do_sample=False)
        text = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert text == record["responses"][0]["text"]


def test_finished_run_is_skipped_without_starting_anything(smoke_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke_run.rglob("model.safetensors")}
    again = run_recipe(SMOKE, smoke_run, timeout_s=60)
    assert again.returncode == 0
    assert again.stdout.count("skipped") == len(STAGES)
    assert before == {path: path.stat().st_mtime_ns for path in smoke_run.rglob("model.safetensors")}


def test_interrupted_and_killed_run_resumes_to_the_same_bits(smoke_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    options = ["--set", "stages.sft.learner.checkpoint_every=7", "--set", "stages.grpo.learner.checkpoint_every=1"]

    interrupted = start_recipe(SMOKE, output, *options)
    sft = output / "stages" / "02-sft.partial" / "metrics.jsonl"
    wait_for_line(sft, lines=16, process=interrupted, timeout_s=120)
    parts = parts_of(interrupted)
    assert end_with(interrupted, signal.SIGINT, within_s=10) < 10
    assert interrupted.returncode == 130
    assert still_alive(parts, after_s=5) == set()

    killed = start_recipe(SMOKE, output, *options)
    grpo = output / "stages" / "04-grpo.partial" / "metrics.jsonl"
    wait_for_line(grpo, lines=3, process=killed, timeout_s=120)
    parts = parts_of(killed)
    end_with(killed, signal.SIGKILL, within_s=10)
    said = verify_ledger(output)
    assert said.startswith("04-grpo: under way; ") and "compared with checkpoint step-0000000" in said
    assert still_alive(parts, after_s=15) == set()

    resumed = run_recipe(SMOKE, output, *options)
    assert resumed.returncode == 0, resumed.stdout[-2000:] + resumed.stderr[-2000:]
    assert "grpo: resuming" in resumed.stdout
    for stage in STAGES:
        straight, broken = smoke_run / "stages" / stage, output / "stages" / stage
        assert (straight / "model" / "model.safetensors").read_bytes() == (
            broken / "model" / "model.safetensors"
        ).read_bytes(), f"{stage} ended with other weights"
        assert records(straight / "metrics.jsonl") == records(broken / "metrics.jsonl")
    assert verify_ledger(output) == verify_ledger(smoke_run)
    ledgers = [run / "stages" / "04-grpo" / "ledger.jsonl" for run in (smoke_run, output)]
    assert ledgers[0].read_text() == ledgers[1].read_text()
