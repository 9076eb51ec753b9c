"""Which stages run, in the face of finished ones, changed ones, gates and failures; on fake parts and real data."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeLearner, FakeParts
from small_run import pipeline_of, recipe_document

from rlpost.errors import ArtifactError, DamagedWeightsError, GateError, LearnerLostError, NonFiniteError
from rlpost.pipeline.artifacts import Manifest, read_manifest
from rlpost.pipeline.selection import Selection
from rlpost.settings import LearnerSettings
from rlpost.train_records import StepReport


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    return recipe_document(tmp_path)


def execute(
    document: dict[str, Any],
    parts: FakeParts | None = None,
    *,
    first: str | None = None,
    last: str | None = None,
    go_on_with: str | None = None,
    can_generate: bool = True,
) -> tuple[list[Manifest], FakeParts]:
    parts = FakeParts() if parts is None else parts
    pipeline = pipeline_of(document, parts, can_generate=can_generate)
    return pipeline.execute(Selection.of(pipeline.recipe, first=first, last=last, go_on_with=go_on_with)), parts


def folders(document: dict[str, Any]) -> list[str]:
    return sorted(path.name for path in (Path(document["output"]) / "stages").iterdir())


def started_stages(parts: FakeParts) -> list[str]:
    """The folder that each learner started from says which stage it was built for."""
    after = {"00-base": "sft", "01-sft": "dpo", "02-dpo": "grpo"}
    return [after[Path(settings.model_dir).parent.name] for settings in parts.settings]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_stage_becomes_an_artifact_on_the_one_before(document: dict[str, Any]) -> None:
    manifests, parts = execute(document)
    assert [manifest.stage for manifest in manifests] == ["base", "sft", "dpo", "grpo"]
    assert started_stages(parts) == ["sft", "dpo", "grpo"]
    assert folders(document) == ["00-base", "01-sft", "02-dpo", "03-grpo"]
    for parent, child in pairwise(manifests):
        assert child.parents == {parent.stage: parent.model_hash}
    run = Path(document["output"]) / "stages"
    assert [record["step"] for record in lines(run / "03-grpo" / "metrics.jsonl")] == [0, 1, 2, 3]
    assert (run / "01-sft" / "model" / "tokenizer.json").is_file()
    assert not (run / "03-grpo" / "checkpoints").exists()
    assert parts.weights.versions == [0, 1, 2, 3]
    # DPO samples from what SFT made, every evaluation from the stage's own model.
    assert [path.parent.name for path in parts.served] == ["01-sft", "01-sft", "02-dpo", "03-grpo"]


def test_the_summary_has_every_stage_with_its_scores(document: dict[str, Any]) -> None:
    manifests, _ = execute(document)
    summary = json.loads((Path(document["output"]) / "summary.json").read_text())
    assert (summary["recipe"], summary["seed"]) == ("small", 0)
    assert [stage["name"] for stage in summary["stages"]] == ["sft", "dpo", "grpo"]
    assert [stage["kind"] for stage in summary["stages"]] == ["sft", "dpo", "grpo"]
    assert summary["base"]["scores"] == {}
    for stage, manifest in zip(summary["stages"], manifests[1:], strict=True):
        assert set(stage["scores"]) == {"pass@1", "pass@2", "mean_score", "truncated", "mean_tokens"}
        assert stage["scores"] == manifest.scores
        assert stage["model_hash"] == manifest.model_hash
        assert read_manifest(Path(stage["model"]).parent) == manifest
    assert set(summary["stages"][2]["time_shares"]) == {"generate", "score", "wait", "train", "sync", "other"}
    answers = lines(Path(document["output"]) / "stages" / "01-sft" / "evaluation.jsonl")
    assert [len(answer["responses"]) for answer in answers] == [2, 2, 2]
    first_scores = [response["score"] for answer in answers for response in answer["responses"]]
    assert summary["stages"][0]["scores"]["mean_score"] == pytest.approx(sum(first_scores) / 6)


def test_finished_stages_are_skipped_and_nothing_is_evaluated_again(document: dict[str, Any]) -> None:
    before, _ = execute(document)
    again, parts = execute(document)
    assert again == before
    assert (parts.settings, parts.served, parts.prepared, parts.generator.requests) == ([], [], [], [])


def test_until_stops_after_a_stage_and_a_later_run_goes_on(document: dict[str, Any]) -> None:
    manifests, parts = execute(document, last="sft")
    assert [manifest.stage for manifest in manifests] == ["base", "sft"]
    assert folders(document) == ["00-base", "01-sft"]
    _, parts = execute(document)
    assert started_stages(parts) == ["dpo", "grpo"]


def test_from_runs_a_finished_stage_and_all_after_it_again(document: dict[str, Any]) -> None:
    before, _ = execute(document)
    again, parts = execute(document, first="dpo")
    assert started_stages(parts) == ["dpo", "grpo"]
    assert [manifest.model_hash for manifest in again] == [manifest.model_hash for manifest in before]


def test_from_does_not_go_on_from_a_half_run(document: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError):
        execute(document, FakeParts(raises={2: {"export": RuntimeError("killed")}}))
    assert folders(document) == ["00-base", "01-sft", "02-dpo", "03-grpo.partial"]
    _, parts = execute(document, first="grpo")
    assert "load_checkpoint" not in parts.learners[0].calls
    assert folders(document) == ["00-base", "01-sft", "02-dpo", "03-grpo", "03-grpo.set-aside-1"]


def test_from_keeps_the_finished_model_until_the_new_one_is_finished(document: dict[str, Any]) -> None:
    before, _ = execute(document)
    with pytest.raises(RuntimeError):
        execute(document, FakeParts(raises={0: {"export": RuntimeError("killed")}}), first="dpo")
    assert read_manifest(Path(document["output"]) / "stages" / "02-dpo") == before[2]


def test_a_key_changed_in_mid_stage_throws_no_checkpoint_away_and_the_stage_can_go_on_with_it(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    document["stages"][2]["learner"] = {"checkpoint_every": 1}
    with pytest.raises(RuntimeError):
        execute(document, FakeParts(raises={2: {"export": RuntimeError("killed")}}))
    document["stages"][2]["steps"] = 6
    with pytest.raises(RuntimeError):
        execute(document, FakeParts(raises={0: {"step": RuntimeError("killed")}}))
    told = " ".join(capsys.readouterr().out.split())
    assert "grpo: earlier work differs in steps (4 -> 6), so the stage begins anew; that work is kept in" in told
    assert "start it again with --go-on-with grpo" in told
    manifests, parts = execute(document, go_on_with="grpo")
    assert "load_checkpoint" in parts.learners[0].calls
    grpo = Path(document["output"]) / "stages" / "03-grpo"
    assert [record["step"] for record in lines(grpo / "metrics.jsonl")] == [0, 1, 2, 3, 4, 5]
    assert manifests[-1].went_on == ["steps (4 -> 6)"]
    assert execute(document)[1].learners == [], "finished with the inputs that it has now"


def test_a_finished_model_of_other_inputs_is_replaced_with_a_word(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    execute(document, last="sft")
    document["stages"][0]["steps"] = 2
    execute(document, last="sft")
    told = " ".join(capsys.readouterr().out.split())
    assert "sft: the finished model is of other inputs; it stays in" in told


def test_a_changed_stage_runs_again_with_all_after_it(document: dict[str, Any]) -> None:
    before, _ = execute(document)
    document["stages"][1]["steps"] = 1
    after, parts = execute(document)
    assert started_stages(parts) == ["dpo", "grpo"]
    assert after[1] == before[1]
    assert after[2].inputs_hash != before[2].inputs_hash
    assert after[3].parents == {"dpo": after[2].model_hash}


def test_a_stage_that_gives_the_same_model_again_does_not_disturb_what_follows(document: dict[str, Any]) -> None:
    execute(document)
    document["stages"][1]["beta"] = 2.0  # The fake learner's weights do not depend on the loss.
    _, parts = execute(document)
    assert started_stages(parts) == ["dpo"]


def test_a_gate_that_holds_lets_the_next_stage_start(document: dict[str, Any]) -> None:
    document["stages"][0]["require"] = {"pass@1": ">= 0"}
    manifests, _ = execute(document)
    assert len(manifests) == 4


def test_a_gate_stops_the_next_stage_now_and_when_the_run_is_repeated(document: dict[str, Any]) -> None:
    document["stages"][0]["require"] = {"mean_tokens": "> 1000"}
    for _ in range(2):
        with pytest.raises(GateError, match=r"stage sft must reach mean_tokens > 1000 .* found") as raised:
            execute(document)
        assert raised.value.exit_code == 3
        assert folders(document) == ["00-base", "01-sft"]
    summary = json.loads((Path(document["output"]) / "summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == ["sft"]
    document["stages"][0]["require"] = {"mean_tokens": "< 1000"}
    _, parts = execute(document)
    assert started_stages(parts) == ["dpo", "grpo"], "loosening a gate does not train the stage again"


@pytest.mark.parametrize(
    ("place", "method"), [(0, "step"), (0, "export"), (1, "logprobs"), (2, "save_checkpoint"), (2, "finish_checkpoint")]
)
def test_a_stage_that_breaks_leaves_no_artifact_and_the_next_run_ends_as_if_it_had_not(
    document: dict[str, Any], tmp_path: Path, place: int, method: str
) -> None:
    other = {**document, "output": str(tmp_path / "undisturbed")}
    expected, _ = execute(other)
    with pytest.raises(RuntimeError, match="broken"):
        execute(document, FakeParts(raises={place: {method: RuntimeError("broken")}}))
    name = ["01-sft", "02-dpo", "03-grpo"][place]
    assert f"{name}.partial" in folders(document) and name not in folders(document)
    manifests, _ = execute(document)
    assert [manifest.model_hash for manifest in manifests] == [manifest.model_hash for manifest in expected]
    assert not [folder for folder in folders(document) if folder.endswith(".partial")]


@pytest.mark.parametrize(
    ("place", "method"),
    [(0, "step"), (0, "export"), (1, "logprobs"), (2, "step"), (2, "save_checkpoint"), (2, "finish_checkpoint")],
)
def test_a_lost_learner_is_replaced_and_the_stage_goes_on_from_its_last_checkpoint(
    document: dict[str, Any], tmp_path: Path, place: int, method: str
) -> None:
    other = {**document, "output": str(tmp_path / "undisturbed")}
    expected, _ = execute(other)
    parts = FakeParts(raises={place: {method: LearnerLostError(f"learner rank 0 died in {method}")}})
    manifests, _ = execute(document, parts)
    assert parts.recovered == [f"learner rank 0 died in {method}"]
    assert [manifest.model_hash for manifest in manifests] == [manifest.model_hash for manifest in expected]
    assert len(parts.learners) == 4


def test_weights_that_are_damaged_on_their_way_are_written_again_from_the_last_checkpoint(
    document: dict[str, Any], tmp_path: Path
) -> None:
    expected, _ = execute({**document, "output": str(tmp_path / "undisturbed")})
    parts = FakeParts(raises={2: {"write_weights": DamagedWeightsError("weights 0 must have the checksum a; found b")}})
    manifests, _ = execute(document, parts)
    assert parts.recovered == ["weights 0 must have the checksum a; found b"]
    assert [manifest.model_hash for manifest in manifests] == [manifest.model_hash for manifest in expected]


@pytest.mark.parametrize(("place", "stage", "source"), [(0, "01-sft", "sums/"), (2, "03-grpo", "sums/")])
def test_a_step_without_a_finite_loss_is_left_out_and_recorded(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], place: int, stage: str, source: str
) -> None:
    parts = FakeParts(raises={place: {"step": NonFiniteError("the loss must be finite; step 0 gave loss nan")}})
    execute(document, parts)
    records = lines(Path(document["output"]) / "stages" / stage / "metrics.jsonl")
    assert [record.get("skipped_steps", 0) for record in records] == [1, 0, 0, 0][: len(records)]
    said = capsys.readouterr().out
    assert "a step is left out, 1 in a row of 3 at most: the loss must be finite; step 0 gave loss nan" in said
    assert source in said


def test_a_resumed_stage_equals_an_uninterrupted_one_in_weights_metrics_and_samples(
    document: dict[str, Any], tmp_path: Path
) -> None:
    other = {**document, "output": str(tmp_path / "undisturbed")}
    expected, _ = execute(other)
    broken = FakeParts(raises={2: {"export": RuntimeError("killed")}})
    with pytest.raises(RuntimeError, match="killed"):
        execute(document, broken)
    resumed, parts = execute(document)
    assert parts.learners[0].calls[0] == "load_checkpoint"
    assert parts.learners[0].calls.count("step") == 1, "three of four steps were in the checkpoint"
    assert resumed[3].model_hash == expected[3].model_hash
    for name, wanted in (
        ("ledger.jsonl", None),
        ("samples.jsonl", None),
        ("metrics.jsonl", ("step", "reward", "loss", "parity/max")),
    ):
        one, same = (lines(Path(run["output"]) / "stages" / "03-grpo" / name) for run in (document, other))
        for record, expected_record in zip(one, same, strict=True):
            for key in wanted or expected_record:
                assert record[key] == expected_record[key]


class KilledInStep4(FakeParts):
    """Of GRPO, whose last checkpoint is still being written."""

    def build_learner(self, settings: LearnerSettings) -> FakeLearner:
        learner = super().build_learner(settings)
        usual = learner.step

        def step(*arguments: Any, **options: Any) -> StepReport:
            if learner.calls.count("save_checkpoint") == 3:
                raise KeyboardInterrupt
            return usual(*arguments, **options)

        learner.step, learner.slow_disk = step, True
        return learner


def test_a_run_that_ends_while_a_checkpoint_is_written_goes_on_from_the_one_before(
    document: dict[str, Any], tmp_path: Path
) -> None:
    other = {**document, "output": str(tmp_path / "undisturbed")}
    expected, _ = execute(other)
    with pytest.raises(KeyboardInterrupt):
        execute(document, KilledInStep4())
    saved = Path(document["output"]) / "stages" / "03-grpo.partial" / "checkpoints"
    assert sorted(path.name for path in saved.iterdir()) == ["step-00000001", "step-00000002", "writing-00000003"]
    resumed, parts = execute(document)
    assert parts.learners[0].calls[0] == "load_checkpoint"
    assert parts.learners[0].calls.count("step") == 2, "two of four steps were in the checkpoint"
    assert [manifest.model_hash for manifest in resumed] == [manifest.model_hash for manifest in expected]


def test_own_samples_of_dpo_are_drawn_once_however_often_the_stage_breaks(document: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError):
        execute(document, FakeParts(raises={1: {"step": RuntimeError("broken")}}), last="dpo")
    _, parts = execute(document, last="dpo")
    sampled_for = {request.key[0] for request in parts.generator.requests}
    assert len(sampled_for) == 3, "only the three held-out prompts are answered"


def test_an_artifact_that_was_changed_is_refused_with_its_name(document: dict[str, Any]) -> None:
    execute(document, last="sft")
    (Path(document["output"]) / "stages" / "01-sft" / "model" / "weights.json").write_text("0")
    with pytest.raises(ArtifactError, match=r"01-sft/model/weights\.json must be as it was .* --fresh"):
        execute(document)


def test_without_engines_nothing_is_evaluated_and_no_gate_is_held(document: dict[str, Any]) -> None:
    document["stages"] = document["stages"][:1]
    document["stages"][0]["require"] = {"mean_tokens": "> 1000"}
    manifests, parts = execute(document, can_generate=False)
    assert manifests[1].scores == {}
    assert parts.generator.requests == []


def test_a_given_model_is_evaluated_before_the_first_stage(document: dict[str, Any], tmp_path: Path) -> None:
    execute(document, last="sft")
    given = tmp_path / "given"
    (Path(document["output"]) / "stages" / "00-base" / "model").rename(given)
    document |= {"output": str(tmp_path / "second")}
    document["model"] = {"path": str(given), "max_length": 48, "dtype": "float32"}
    manifests, parts = execute(document, last="sft")
    assert parts.served[0].parent.name == "00-base"
    assert 0 <= manifests[0].scores["mean_tokens"] <= 6
