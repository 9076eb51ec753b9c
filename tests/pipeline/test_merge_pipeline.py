"""A recipe that forks, merges and goes on: parents, skipping, and refusals before anything is trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import FakeLearner, FakeParts
from safetensors.torch import load_file, save_file
from small_run import pipeline_of, recipe_document
from tiny_models import save_tiny_model

from rlpost.errors import ModelError, PreemptedError
from rlpost.pipeline.artifacts import Manifest
from rlpost.pipeline.run import Pipeline
from rlpost.pipeline.selection import Selection
from rlpost.recipe.stages import STAGE_CLASSES
from rlpost.settings import LearnerSettings
from rlpost.stages.registry import RUNNERS
from rlpost.stages.stopping import StopRequest

WEIGHTS = "model.safetensors"


class ShiftingLearner(FakeLearner):
    """Exports its start with every weight moved by a hundredth of its steps."""

    model_dir: Path

    def export(self, directory: Path) -> None:
        super().export(directory)
        shutil.copyfile(self.model_dir / "config.json", directory / "config.json")
        state = load_file(self.model_dir / WEIGHTS)
        save_file({name: weight + self.steps / 100 for name, weight in state.items()}, directory / WEIGHTS)


class ShiftingParts(FakeParts):
    """Parts whose learners export real weights."""

    def build_learner(self, settings: LearnerSettings) -> FakeLearner:
        built = super().build_learner(settings)
        learner = self.learners[-1] = ShiftingLearner(weights=built.weights)
        learner.model_dir = Path(settings.model_dir)
        return learner


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """sft of three steps and a fork of one, both from base; their merge; sft of two steps on it."""
    document = recipe_document(tmp_path)
    sft = document["stages"][0]
    document["stages"] = [
        sft,
        sft | {"name": "fork", "start": "base", "steps": 1},
        {"name": "merged", "kind": "merge", "sources": [{"model": "sft"}, {"model": "fork"}]},
        sft | {"name": "more", "steps": 2},
    ]
    return document


def execute(document: dict[str, Any], parts: FakeParts) -> tuple[Pipeline, list[Manifest]]:
    pipeline = pipeline_of(document, parts)
    return pipeline, pipeline.execute(Selection.of(pipeline.recipe, first=None, last=None))


def model_of(pipeline: Pipeline, name: str) -> Path:
    return next((pipeline.run.root / "stages").glob(f"*-{name}")) / "model"


def weight_of(pipeline: Pipeline, name: str) -> torch.Tensor:
    return load_file(model_of(pipeline, name) / WEIGHTS)["model.embed_tokens.weight"]


def test_a_fork_is_merged_and_training_goes_on_from_the_merge(document: dict[str, Any]) -> None:
    parts = ShiftingParts()
    pipeline, (base, sft, fork, merged, more) = execute(document, parts)
    assert merged.parents == {"sft": sft.model_hash, "fork": fork.model_hash}
    assert fork.parents == {"base": base.model_hash} and more.parents == {"merged": merged.model_hash}
    mean = (weight_of(pipeline, "sft") + weight_of(pipeline, "fork")) / 2
    assert torch.equal(weight_of(pipeline, "merged"), mean)
    assert torch.equal(weight_of(pipeline, "more"), mean + 0.02)
    assert len(parts.learners) == 3, "nothing is trained in a merge"
    assert "pass@1" in merged.scores, "a merged model is a language model, so it is evaluated"
    assert "tokenizer.json" in merged.files and "config.json" in merged.files


def test_a_merge_is_skipped_until_one_of_its_models_or_weights_changes(document: dict[str, Any]) -> None:
    _, before = execute(document, ShiftingParts())
    parts = ShiftingParts()
    assert execute(document, parts)[1] == before
    document["stages"][1]["steps"] = 2
    _, after = execute(document, parts)
    changed = [manifest.stage for old, manifest in zip(before, after, strict=True) if old != manifest]
    assert changed == ["fork", "merged", "more"]
    assert after[3].parents == {"sft": after[1].model_hash, "fork": after[2].model_hash}
    document["stages"][2]["sources"][0]["weight"] = 3.0
    pipeline, _ = execute(document, parts)
    expected = 0.75 * weight_of(pipeline, "sft") + 0.25 * weight_of(pipeline, "fork")
    torch.testing.assert_close(weight_of(pipeline, "merged"), expected)


def test_a_given_model_counts_by_what_it_holds(document: dict[str, Any], tmp_path: Path) -> None:
    pipeline, _ = execute(document, ShiftingParts())
    given = tmp_path / "given"
    shutil.copytree(model_of(pipeline, "fork"), given)
    shift(given)
    document["stages"][2]["sources"][1]["model"] = str(given)
    _, manifests = execute(document, ShiftingParts())
    assert set(manifests[3].parents) == {"sft", str(given)}
    moved = given.rename(tmp_path / "moved")
    document["stages"][2]["sources"][1]["model"] = str(moved)
    parts = ShiftingParts()
    assert execute(document, parts)[1] == manifests, "where it lies does not matter"
    shift(moved)
    assert execute(document, parts)[1][3].model_hash != manifests[3].model_hash


def test_models_that_do_not_fit_are_refused_before_anything_is_trained(
    document: dict[str, Any], tmp_path: Path
) -> None:
    save_tiny_model(tmp_path / "other", tied=True, seed=1)
    document["stages"][2]["sources"][1]["model"] = str(tmp_path / "other")
    parts = ShiftingParts()
    with pytest.raises(ModelError, match=r"models can be merged if all their weights have the same names and shapes"):
        execute(document, parts)
    assert parts.prepared == [] and not (Path(document["output"]) / "stages" / "01-sft").exists()


def test_a_model_of_another_vocabulary_is_refused_before_anything_is_trained(
    document: dict[str, Any], tmp_path: Path
) -> None:
    given = tmp_path / "given"
    shutil.copytree(model_of(pipeline_of(document, FakeParts()), "base"), given)
    tokenizer = json.loads((given / "tokenizer.json").read_text())
    tokens = tokenizer["model"]["vocab"]
    tokens["a"], tokens["b"] = tokens["b"], tokens["a"]
    (given / "tokenizer.json").write_text(json.dumps(tokenizer))
    document["stages"][2]["sources"][1]["model"] = str(given)
    with pytest.raises(ModelError, match=r"stage merged gives the merged model the run's tokenizer"):
        pipeline_of(document, FakeParts())


def shift(model_dir: Path) -> None:
    state = load_file(model_dir / WEIGHTS)
    save_file({name: weight + 1 for name, weight in state.items()}, model_dir / WEIGHTS)


def refuse_inside_the_merge(where: str) -> None:
    if "tensors" in where:
        raise PreemptedError(where)


def test_a_merge_that_was_cut_off_starts_over(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest(())
    pipeline = pipeline_of(document, ShiftingParts(), stop=stop)
    monkeypatch.setattr(stop, "raise_if_requested", refuse_inside_the_merge)
    with pytest.raises(PreemptedError, match=r"after 1 of \d+ tensors of merged"):
        pipeline.execute(Selection.of(pipeline.recipe, first=None, last=None))
    assert not (Path(document["output"]) / "stages" / "03-merged").exists()
    again, _ = execute(document, ShiftingParts())
    mean = (weight_of(again, "sft") + weight_of(again, "fork")) / 2
    assert torch.equal(weight_of(again, "merged"), mean)


def test_every_kind_of_stage_has_a_function_that_runs_it() -> None:
    assert set(RUNNERS) == set(STAGE_CLASSES)
