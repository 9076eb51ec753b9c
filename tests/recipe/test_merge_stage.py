"""A merge describes itself, and models that are already on disk are compared before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_tiny_model

from rlpost.errors import ModelError
from rlpost.recipe.arithmetic import describe
from rlpost.recipe.check import problems
from rlpost.recipe.load import load_recipe
from rlpost.recipe.model_layout import refuse_difference
from rlpost.recipe.schema import ClusterConfig, Recipe

FORKS = Path(__file__).parent / "broken" / "parts" / "with_merge.yaml"
CPU = ClusterConfig(name="cpu")


def loaded(*overrides: str, path: Path = FORKS) -> Recipe:
    return load_recipe(path, overrides=overrides).recipe


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("method=linear", "linear merge, the weighted mean of 1 x sft, 3 x fork; nothing is trained"),
        ("method=slerp", "slerp merge, the weighted arc of 1 x sft, 3 x fork; nothing is trained"),
        (
            "method=ties",
            "ties merge: base + 1 x the task vectors of 1 x sft, 3 x fork, 0.2 of each kept; nothing is trained",
        ),
    ],
)
def test_a_merge_is_told_in_words_and_the_stage_after_it_goes_on_from_it(override: str, line: str) -> None:
    recipe = loaded(f"stages.merged.{override}")
    assert problems(recipe, CPU, verifier_reads={}) == []
    lines = describe(recipe, CPU)
    start = lines.index("stage 4: merged (merge)")
    assert lines[start + 1] == f"  {line}"
    assert lines[start + 2] == "  the run stops after this stage unless pass@1 >= 0.1"
    assert lines[start + 3] == "stage 5: more (sft)"
    assert lines[-1].startswith("after every stage but scorer:")


def test_all_models_of_a_merge_are_its_parents() -> None:
    recipe = loaded("stages.merged.method=task_arithmetic", "stages.merged.base=fork")
    merged, more = recipe.stages[-2:]
    assert [(parent.role, name) for parent, name in recipe.parents_of(merged)] == [
        ("source", "sft"),
        ("source", "fork"),
        ("task_base", "fork"),
    ]
    assert [name for _, name in recipe.parents_of(more)] == ["merged"]


def test_directories_are_found_beside_the_recipe_and_their_shapes_are_compared(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "given", tied=False, seed=1)
    save_tiny_model(tmp_path / "same", tied=False, seed=2)
    save_tiny_model(tmp_path / "wide", tied=False, seed=2, hidden_size=96)
    file = tmp_path / "recipe.yaml"
    file.write_text(f"extends: {FORKS}\nstages: {{merged: {{sources: [{{model: ./given}}, {{model: ./same}}]}}}}\n")
    recipe = loaded(path=file)
    names = [name for _, name in recipe.parents_of(recipe.stages[3])]
    assert names == [str(tmp_path / "given"), str(tmp_path / "same")]
    assert problems(recipe, CPU, verifier_reads={}) == []
    file.write_text(f"extends: {FORKS}\nstages: {{merged: {{sources: [{{model: ./given}}, {{model: ./wide}}]}}}}\n")
    (problem,) = problems(loaded(path=file), CPU, verifier_reads={})
    assert problem.path == ("stages", 3, "sources", 1, "model")
    assert "lm_head.weight is of shape [258, 64] in" in problem.text and "of shape [258, 96] in" in problem.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_attention_heads": 4, "head_dim": 16}, "num_attention_heads is 2 in .*given and 4 in .*other"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, "rope_theta is 10000.0 in .* and 1000000.0"),
        ({"model_type": "mistral"}, "model_type is 'qwen3' in"),
        ({"transformers_version": "4.0", "max_position_embeddings": 9, "hidden_act": None}, None),
    ],
)
def test_models_of_one_shape_that_read_their_weights_otherwise_are_refused(
    tmp_path: Path, changes: dict[str, Any], words: str | None
) -> None:
    save_tiny_model(tmp_path / "given", tied=False, seed=1)
    save_tiny_model(tmp_path / "other", tied=False, seed=1)
    config = tmp_path / "other" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    if words is None:
        refuse_difference(tmp_path / "given", tmp_path / "other")
        return
    with pytest.raises(ModelError, match=f"read their weights in the same way; {words}"):
        refuse_difference(tmp_path / "given", tmp_path / "other")


def test_a_given_base_stands_for_the_shapes_of_every_stage(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "start", tied=False, seed=1)
    save_tiny_model(tmp_path / "deep", tied=False, seed=2, layers=3)
    given = ("model.config=null", "model.tokenizer=null", f"model.path={tmp_path / 'start'}")
    recipe = loaded(*given, f"stages.merged.sources=[{{model: sft}}, {{model: {tmp_path / 'deep'}}}]")
    (problem,) = problems(recipe, CPU, verifier_reads={})
    assert problem.path == ("stages", 3, "sources", 1, "model")
    assert "model.layers.2" in problem.text and "is not there in" in problem.text
