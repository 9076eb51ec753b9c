"""Every YAML file that comes with rlpost loads and passes `rlpost check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlpost.cli.check import load_checked
from rlpost.recipe.arithmetic import describe
from rlpost.recipe.load import load_cluster
from rlpost.recipe.stages import DpoStage, GrpoStage, PpoStage, RewardModelStage, SftStage

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
CLUSTERS = sorted((ROOT / "ray_configs").rglob("*.yaml"))
NEEDS_GPUS = {"tulu3-8b", "tulu3.1-8b"}


def cluster_for(recipe: Path) -> Path:
    return ROOT / "ray_configs" / ("node_8gpu.yaml" if recipe.stem in NEEDS_GPUS else "laptop.yaml")


def test_there_are_recipes_and_clusters() -> None:
    assert {path.stem for path in RECIPES} > NEEDS_GPUS
    assert {"laptop", "node_8gpu"} < {path.stem for path in CLUSTERS}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_passes_the_check(path: Path) -> None:
    checked = load_checked(path, cluster_for(path), overrides=[])
    assert checked.loaded.recipe.name == path.stem
    assert len(describe(checked.loaded.recipe, checked.cluster)) > len(checked.loaded.recipe.stages)


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_a_shipped_cluster_loads(path: Path) -> None:
    assert load_cluster(path, overrides=[]).cluster.name == path.stem.replace("_", "-")


@pytest.mark.parametrize("path", [*RECIPES, *CLUSTERS], ids=lambda path: path.stem)
def test_a_shipped_file_is_in_the_table_of_its_folder(path: Path) -> None:
    assert f"`{path.name}`" in (path.parent / "README.md").read_text()


def test_the_tulu_recipe_has_the_published_numbers() -> None:
    path = ROOT / "recipes" / "tulu3.1-8b.yaml"
    sft, dpo, grpo = load_checked(path, cluster_for(path), overrides=[]).loaded.recipe.stages
    assert isinstance(sft, SftStage) and isinstance(dpo, DpoStage) and isinstance(grpo, GrpoStage)
    assert (sft.optimizer.learning_rate, sft.optimizer.warmup_ratio, sft.rows_per_step, sft.epochs) == (
        5e-6,
        0.03,
        128,
        2,
    )
    assert (dpo.optimizer.learning_rate, dpo.optimizer.warmup_ratio, dpo.rows_per_step, dpo.epochs) == (
        5e-7,
        0.1,
        128,
        1,
    )
    assert (dpo.settings_of_loss["beta"], dpo.loss) == (5, "sigmoid_norm")
    assert (grpo.optimizer.learning_rate, grpo.optimizer.schedule) == (5e-7, "constant")
    assert (grpo.prompts_per_step, grpo.samples_per_prompt, grpo.minibatches) == (48, 16, 2)
    assert (grpo.kl.coefficient, grpo.reward_scale, grpo.sampling.max_tokens) == (0.01, 10, 2048)
    assert (grpo.max_staleness, grpo.off_policy.proximal, grpo.off_policy.correction) == (1, "recompute", "none")


def test_the_tulu_3_recipe_has_the_published_numbers() -> None:
    path = ROOT / "recipes" / "tulu3-8b.yaml"
    recipe = load_checked(path, cluster_for(path), overrides=[]).loaded.recipe
    sft, dpo, reward, ppo = recipe.stages
    assert isinstance(sft, SftStage) and isinstance(dpo, DpoStage)
    assert isinstance(reward, RewardModelStage) and isinstance(ppo, PpoStage)
    _, *before = load_checked(
        ROOT / "recipes" / "tulu3.1-8b.yaml", cluster_for(path), overrides=[]
    ).loaded.recipe.stages
    assert (sft.optimizer.learning_rate, sft.rows_per_step, sft.epochs) == (5e-6, 128, 2)
    assert dpo == before[0]
    assert (reward.optimizer.learning_rate, reward.optimizer.schedule) == (3e-6, "linear")
    assert (reward.rows_per_step, reward.epochs) == (256, 1)
    parents = [{parent.role: name for parent, name in recipe.parents_of(stage)} for stage in recipe.stages]
    assert parents == [{"start": "base"}, {"start": "sft"}, {"start": "sft"}, {"start": "dpo", "critic": "reward"}]
    assert (ppo.optimizer.learning_rate, ppo.optimizer.schedule, ppo.optimizer.eps) == (3e-7, "linear", 1e-5)
    assert (ppo.prompts_per_step * ppo.samples_per_prompt, ppo.minibatches, ppo.epochs) == (224, 1, 4)
    assert (ppo.kl.coefficient, ppo.kl.estimator, ppo.kl.place) == (0.05, "k1", "reward")
    assert (ppo.reward_scale, ppo.truncated_score) == (10, -10)
    assert (ppo.gae.discount, ppo.gae.trace_decay, ppo.gae.whiten) == (1, 0.95, True)
    assert (ppo.loss.clip_low, ppo.loss.clip_high, ppo.value.clip, ppo.value.coefficient) == (0.2, 0.2, 0.2, 0.1)
    assert (ppo.max_staleness, ppo.off_policy.proximal) == (1, "recompute")
