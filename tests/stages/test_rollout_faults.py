"""Faults from the scorer to the ledger, the quarantine file and the metrics of an RL stage."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fakes import FakeGenerator, FakeScorer, make_group, make_prompt, never_pauses, scored

from rlpost.data.row_ids import RowIds
from rlpost.data.tokenized import PromptRows
from rlpost.recipe.stages import GrpoStage
from rlpost.records import Fault, Sample, Sampling, Verdict
from rlpost.rollout.collector import Collector
from rlpost.rollout.ledger_journal import read_journal
from rlpost.stages.rl.metrics import _of_groups
from rlpost.stages.rl.sampling import Rollouts
from rlpost.stages.samples import group_record

STAGE = GrpoStage.model_validate(
    {
        "kind": "grpo",
        "name": "rl",
        "data": ["sums"],
        "steps": 5,
        "prompts_per_step": 2,
        "samples_per_prompt": 3,
        "sampling": {"max_tokens": 6},
        "optimizer": {"learning_rate": 1e-3},
    }
)


def verdict(sample: Sample) -> Verdict:
    row, number = sample.id.partition("/")[2].split("#")
    if row == "1" and number == "2":
        return Verdict(fault=Fault.GOLD, reason="the gold is empty", version="probe@1")
    if row == "2" and number != "0":
        return Verdict(fault=Fault.INFRA, reason="down")
    if row == "3" and number == "1":
        return Verdict(fault=Fault.INFRA, reason="down")
    return Verdict(score=0.0, fault=Fault.POLICY) if row == "4" and number == "0" else Verdict(score=1.0)


def stage_parts(directory: Path, generator: FakeGenerator) -> Any:
    """As much of a `StageContext` as rollouts need."""

    def collector(*, samples: int, sampling: Sampling) -> Collector:
        return Collector(
            generator,
            FakeScorer(verdict),
            samples=samples,
            sampling=sampling,
            seed="0/rl",
            stall_timeout_s=20,
            breaker=never_pauses(),
        )

    prompts = [make_prompt(number) for number in range(6)]
    return SimpleNamespace(
        cluster=SimpleNamespace(step_timeout_s=20),
        recipe=SimpleNamespace(model=SimpleNamespace(dtype="float32"), seed=0),
        data=SimpleNamespace(
            prompts=lambda *args, **kwargs: PromptRows(prompts, RowIds.of([prompt.id for prompt in prompts])),
            format=SimpleNamespace(stop_token_ids=(1,)),
        ),
        directory=directory,
        collector=collector,
    )


def test_what_cannot_be_judged_is_set_aside_dropped_or_masked_and_counted(tmp_path: Path) -> None:
    generator = FakeGenerator()
    rollouts = Rollouts(stage_parts(tmp_path, generator), STAGE, version=0, state=None)
    trained = []
    with rollouts:
        for version in range(3):
            generator.version = version
            if version:
                rollouts._buffer.advance(version)
            trained += rollouts.take(version=version)
        metrics = rollouts.fault_metrics()
        again = rollouts.fault_metrics()
    rows = [group.prompt.id for group in trained]
    dropped = rollouts.state()["ledger"]["dropped"]
    assert "sums/1" not in rows and dropped["gold fault"] >= 1, "its gold cannot be read"
    assert "sums/2" not in rows and dropped["infra fault"] >= 1, "only one of its samples was judged"
    assert "sums/3" in rows and "sums/4" in rows, "two of the samples were judged; a policy fault is judged"
    [line] = (tmp_path / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "id": "sums/1", "dataset": "sums", "verifier": "probe@1", "reason": "the gold is empty", "gold": "1",
    }  # fmt: skip
    # The row may have been issued for the next pass before its first verdict was there.
    assert 1.0 <= metrics.pop("faults/gold") <= dropped["gold fault"]
    assert metrics == {
        "quarantined": 1.0,
        "faults/policy": float(rows.count("sums/4")),
        "faults/infra": 2.0 * dropped["infra fault"] + rows.count("sums/3"),
    }
    assert again == {"quarantined": 1.0, "faults/policy": 0.0, "faults/gold": 0.0, "faults/infra": 0.0}


def test_a_checkpoint_counts_what_the_lines_of_the_ledger_count_and_no_later_drop(tmp_path: Path) -> None:
    rollouts = Rollouts(stage_parts(tmp_path, FakeGenerator()), STAGE, version=0, state=None)
    buffer = rollouts._buffer  # Its thread is not started: each thing happens when this test says so.

    def saved() -> tuple[int, dict[str, int]]:
        ledger = rollouts.state()["ledger"]
        return ledger["first_open"], ledger["dropped"]

    def take(indices: list[int], *, version: int) -> None:
        for index in indices:
            buffer.put(make_group(scored(0, 1, 1), index=index, version=version))
        rollouts.take(version=version)

    assert buffer.reserve(timeout_s=0) == [0, 1]
    take([0, 1], version=0)
    buffer.advance(1)
    assert buffer.reserve(timeout_s=0) == [2, 3]
    buffer.drop(2, "no signal")
    assert saved() == (2, {}), "as the first step left it"
    assert buffer.reserve(timeout_s=0) == [4]
    take([3, 4], version=1)
    assert saved() == (5, {"no signal": 1})
    first, second = read_journal(tmp_path / "ledger.jsonl").lines
    assert (first.dropped, first.issued) == ((), 2)
    assert (second.dropped, second.issued) == (((2, "no signal"),), 5)


def test_the_mean_of_each_part_is_over_the_samples_for_which_it_ran() -> None:
    verdicts = [
        Verdict(score=1.0, parts={"right": 1.0, "short": 0.5}),
        Verdict(score=0.0, parts={"right": 0.0}),
        Verdict(fault=Fault.INFRA, reason="down"),
    ]
    metrics = _of_groups([make_group(verdicts)], STAGE)
    assert {name: value for name, value in metrics.items() if name.startswith("rewards/")} == {
        "rewards/right": 0.5,
        "rewards/short": 0.5,
    }


def test_samples_are_recorded_with_their_parts_and_tags() -> None:
    judged = Verdict(score=1.0, parts={"right": 1.0}, tags=("hedged",))
    [response] = group_record(make_group([judged]))["responses"]
    assert (response["parts"], response["tags"]) == ({"right": 1.0}, ["hedged"])
