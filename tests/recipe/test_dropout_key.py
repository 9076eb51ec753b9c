"""A model's own dropout acts in stages whose loss is a likelihood, and in the others only where a recipe says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlpost.recipe.load import load_recipe
from rlpost.recipe.stages import CptStage, TrainedStage

VALID = Path(__file__).parent / "valid.yaml"
WITH_PPO = Path(__file__).parent / "broken" / "parts" / "with_reward_model.yaml"


def dropout_by_kind(path: Path, *overrides: str) -> dict[str, bool]:
    stages = load_recipe(path, overrides=overrides).recipe.stages
    return {stage.kind_name(): stage.dropout for stage in stages if isinstance(stage, TrainedStage)}


def test_supervised_likelihoods_are_trained_with_it_and_comparisons_without() -> None:
    assert dropout_by_kind(VALID) == {"sft": True, "dpo": False, "grpo": False}
    assert CptStage.model_fields["dropout"].default is True
    found = dropout_by_kind(WITH_PPO)
    assert (found["reward_model"], found["ppo"]) == (False, False)


@pytest.mark.parametrize(("stage", "wanted"), [("sft", False), ("dpo", True), ("grpo", True)])
def test_a_recipe_may_decide_otherwise(stage: str, wanted: bool) -> None:
    assert dropout_by_kind(VALID, f"stages.{stage}.dropout={str(wanted).lower()}")[stage] is wanted
