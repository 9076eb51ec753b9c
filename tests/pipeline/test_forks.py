"""Stages that do not start from the one before: forks, reward models on the side, and a critic that starts from one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeParts
from small_run import OPTIMIZER, pipeline_of, recipe_document, sums, write_rows

from rlpost.cli import chat
from rlpost.errors import ArtifactError, DataError, GateError
from rlpost.pipeline.artifacts import Manifest
from rlpost.pipeline.selection import Selection
from rlpost.pipeline.summary import show_summary
from rlpost.telemetry.console import Console


def execute(document: dict[str, Any], parts: FakeParts | None = None, **selected: str) -> list[Manifest]:
    pipeline = pipeline_of(document, FakeParts() if parts is None else parts)
    chosen = Selection.of(pipeline.recipe, first=selected.get("first"), last=selected.get("last"))
    return pipeline.execute(chosen)


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """sft, then a reward model on given pairs, then PPO from sft with its critic from the reward model."""
    document = recipe_document(tmp_path)
    rows = [{**row, "rejected": "0"} for row in sums(12)]
    document["data"]["pairs"] = {"source": f"jsonl:{write_rows(tmp_path / 'pairs.jsonl', rows)}"}
    sft, _, rl = document["stages"]
    reward = {
        "name": "reward",
        "kind": "reward_model",
        "data": ["pairs"],
        "rows_per_step": 4,
        "epochs": 1,
        "optimizer": OPTIMIZER,
    }
    ppo = rl | {"name": "ppo", "kind": "ppo", "samples_per_prompt": 2, "value": {"start": "reward"}}
    document["stages"] = [sft, reward, ppo]
    return document


def started_from(parts: FakeParts) -> list[str]:
    return [Path(settings.model_dir).parent.name for settings in parts.settings]


def test_a_reward_model_is_passed_by_and_starts_the_critic(document: dict[str, Any]) -> None:
    parts = FakeParts()
    base, sft, reward, ppo = execute(document, parts)
    assert started_from(parts) == ["00-base", "01-sft", "01-sft"]
    assert [settings.head for settings in parts.settings] == ["language_model", "score", "language_model"]
    critic = parts.settings[2].critic
    assert critic is not None and critic.learning_rate == OPTIMIZER["learning_rate"]
    assert Path(critic.model_dir).parent.name == "02-reward"
    assert [settings.critic for settings in parts.settings[:2]] == [None, None]
    assert sft.parents == {"base": base.model_hash}
    assert reward.parents == {"sft": sft.model_hash}
    assert ppo.parents == {"sft": sft.model_hash, "reward": reward.model_hash}
    # Engines never hold the reward model.
    assert [path.parent.name for path in parts.served] == ["01-sft", "03-ppo"]
    assert {path.parent.name for path in parts.prepared} == {"00-base", "01-sft"}


def test_a_reward_model_is_scored_on_its_held_out_pairs_only(document: dict[str, Any]) -> None:
    parts = FakeParts()
    _, _, reward, ppo = execute(document, parts)
    assert set(reward.scores) == {"pair_accuracy", "above_chance"}
    assert 0 <= reward.scores["pair_accuracy"] <= 1
    assert "pass@1" in ppo.scores and "pair_accuracy" not in ppo.scores
    learner = parts.learners[1]
    assert learner.calls[-2:] == ["export", "values"]
    assert learner.steps == 3, "11 of the 12 pairs, 4 a step"
    for batch in learner.batches:
        ends = np.cumsum(batch.row_lengths_B) - 1
        assert np.flatnonzero(batch.weights_T).tolist() == ends.tolist()
        assert batch.rows_per_unit == 2


def test_a_reward_models_gate_is_held_with_and_without_engines(document: dict[str, Any]) -> None:
    document["stages"][1]["require"] = {"pair_accuracy": "> 1"}
    with pytest.raises(GateError, match="stage reward must reach pair_accuracy > 1"):
        execute(document)
    pipeline = pipeline_of(document, FakeParts(), can_generate=False)
    with pytest.raises(GateError, match="stage reward must reach pair_accuracy > 1"):
        pipeline.execute(Selection.of(pipeline.recipe, first=None, last="reward"))


def test_a_reward_model_samples_its_own_pairs_from_its_start(document: dict[str, Any]) -> None:
    own = {"samples_per_prompt": 6, "sampling": {"max_tokens": 6}}
    document["stages"][1] |= {"data": ["sums"], "own_samples": own}
    parts = FakeParts()
    execute(document, parts, last="reward")
    assert [path.parent.name for path in parts.served] == ["01-sft", "01-sft"]
    assert parts.learners[1].steps >= 1


def test_finished_forks_are_skipped_and_only_what_a_change_reaches_runs_again(document: dict[str, Any]) -> None:
    grpo = recipe_document(Path(document["output"]).parent)["stages"][2]
    document["stages"].append(grpo | {"start": "sft"})
    before = execute(document)
    parts = FakeParts()
    assert execute(document, parts) == before
    assert parts.settings == []
    document["stages"][1]["epochs"] = 2
    parts = FakeParts()
    execute(document, parts)
    assert started_from(parts) == ["01-sft", "01-sft"], "reward and ppo, not grpo, which starts from sft too"
    assert parts.settings[0].head == "score" and parts.settings[1].critic is not None


def test_a_stage_may_start_from_the_base_or_from_any_language_model(document: dict[str, Any]) -> None:
    document["stages"][2] |= {"start": "base", "value": {"start": "policy"}}
    parts = FakeParts()
    base, _, _, ppo = execute(document, parts)
    assert started_from(parts) == ["00-base", "01-sft", "00-base"]
    assert ppo.parents == {"base": base.model_hash}
    critic = parts.settings[2].critic
    assert critic is not None and Path(critic.model_dir).parent.name == "00-base"


def test_a_critic_from_a_directory_counts_by_what_the_directory_holds(document: dict[str, Any], tmp_path: Path) -> None:
    given = tmp_path / "scorer"
    given.mkdir()
    (given / "config.json").write_text("{}")
    document["stages"][2] |= {"value": {"start": str(given), "learning_rate": 0.5}}
    parts = FakeParts()
    execute(document, parts)
    critic = parts.settings[2].critic
    assert critic is not None and (critic.model_dir, critic.learning_rate) == (str(given), 0.5)
    (given / "config.json").write_text('{"changed": true}')
    parts = FakeParts()
    execute(document, parts)
    assert len(parts.settings) == 1


def test_a_reward_model_on_a_reward_model_leaves_the_engines_a_language_model(document: dict[str, Any]) -> None:
    again = {**document["stages"][1], "name": "again", "start": "reward"}
    document["stages"].insert(2, again)
    parts = FakeParts()
    manifests = execute(document, parts, last="again")
    assert manifests[3].parents == {"reward": manifests[2].model_hash}
    assert started_from(parts)[2] == "02-reward"
    assert parts.prepared[2].parent.name == "01-sft"


def test_too_few_pairs_are_refused_with_what_to_do(document: dict[str, Any], tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [{**sums(1)[0], "rejected": "0"}])
    with pytest.raises(DataError, match="stage reward needs pairs of at least 2 prompts"):
        execute(document)


def test_chat_goes_past_a_reward_model_and_refuses_it_by_name(document: dict[str, Any]) -> None:
    execute(document, last="reward")
    run = Path(document["output"])
    assert chat._model_dir(run, None).parent.name == "01-sft"
    with pytest.raises(ArtifactError, match=r"\(base, sft\); found 'reward', a reward model"):
        chat._model_dir(run, "reward")
    (run / "stages" / "02-reward" / "model" / "config.json").write_text(
        json.dumps({"architectures": ["Qwen3ForSequenceClassification"]})
    )
    with pytest.raises(ArtifactError, match="is a reward model, which scores and does not answer"):
        chat._model_dir(run / "stages" / "02-reward" / "model", None)


def test_the_summary_points_at_the_last_language_model(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = pipeline_of(document, FakeParts())
    manifests = pipeline.execute(Selection.of(pipeline.recipe, first=None, last="reward"))
    capsys.readouterr()
    show_summary(pipeline.run, manifests, Console())
    shown = capsys.readouterr().out.replace("\n", "")
    assert "01-sft/model" in shown and "02-reward/model" not in shown
    assert "pair_accuracy" in shown


def test_a_file_that_changes_during_the_run_does_not_change_what_the_manifest_says(
    document: dict[str, Any], tmp_path: Path
) -> None:
    pipeline = pipeline_of(document, FakeParts())
    write_rows(tmp_path / "pairs.jsonl", [{**row, "rejected": "1"} for row in sums(12)])
    recorded = pipeline.execute(Selection.of(pipeline.recipe, first=None, last="reward"))[2]
    parts = FakeParts()
    again = execute(document, parts, last="reward")[2]
    assert started_from(parts) == ["01-sft"], "the rows in the file are not those that were trained on"
    assert again.inputs_hash != recorded.inputs_hash
