"""Presets: each loads into its stage with the numbers of its source; what a recipe writes beside one wins."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rlpost.recipe.presets import preset_names
from rlpost.recipe.stages import AnyStage, GrpoStage, PpoStage

STAGE: TypeAdapter[Any] = TypeAdapter(AnyStage)
PPO = {"ppo", "tulu3_ppo"}
NO_KL = {"dr_grpo", "dapo", "gspo", "cispo", "olmo3"}


def stage_of(algorithm: str, **keys: Any) -> GrpoStage | PpoStage:
    written = {
        "kind": "ppo" if algorithm in PPO else "grpo",
        "algorithm": algorithm,
        "name": "rl",
        "data": ["questions"],
        "steps": 1,
        "prompts_per_step": 16,
        "samples_per_prompt": 4,
        "sampling": {"temperature": 1.0, "max_tokens": 8},
        "optimizer": {"learning_rate": 1e-3},
    }
    return STAGE.validate_python(written | keys)


def test_every_algorithm_of_the_family_has_a_preset() -> None:
    assert set(preset_names()) == PPO | NO_KL | {
        "grpo",
        "tulu3_grpo",
        "rloo",
        "reinforce_plus_plus",
        "reinforce_plus_plus_baseline",
    }


PUBLISHED: list[tuple[str, dict[str, Any]]] = [
    ("grpo", {"advantage.scheme": "grpo", "loss.normalisation": "sequence", "kl.coefficient": 0.04}),
    ("grpo", {"kl.estimator": "k3", "kl.place": "loss", "minibatches": 1, "epochs": 1}),
    ("tulu3_grpo", {"kl.coefficient": 0.01, "kl.estimator": "k3", "reward_scale": 10, "minibatches": 2, "epochs": 1}),
    ("tulu3_grpo", {"advantage.scheme": "grpo", "truncated_score": 0.0, "loss.normalisation": "token"}),
    ("dr_grpo", {"advantage.scheme": "dr_grpo", "loss.normalisation": "constant"}),
    ("rloo", {"advantage.scheme": "leave_one_out", "kl.place": "reward", "kl.estimator": "k1", "epochs": 1}),
    ("rloo", {"loss.normalisation": "sequence_sum", "minibatches": 1}),
    ("reinforce_plus_plus", {"advantage.scheme": "reinforce_plus_plus", "kl.place": "reward", "kl.estimator": "k1"}),
    ("reinforce_plus_plus_baseline", {"advantage.scheme": "reinforce_plus_plus_baseline", "kl.estimator": "k2"}),
    ("reinforce_plus_plus_baseline", {"kl.place": "loss", "kl.coefficient": 1e-4}),
    ("dapo", {"loss.clip_low": 0.2, "loss.clip_high": 0.28, "loss.normalisation": "token", "minibatches": 16}),
    ("dapo", {"overlong.buffer_ratio": 4096 / 20480, "overlong.factor": 1.0, "dynamic_sampling.max_refill": 10}),
    ("gspo", {"loss.kind": "gspo", "loss.clip_low": 3e-4, "loss.clip_high": 4e-4, "minibatches": 4}),
    ("gspo", {"loss.normalisation": "sequence", "advantage.scheme": "grpo"}),
    ("cispo", {"loss.kind": "cispo", "loss.cap": 5.0, "loss.normalisation": "token", "minibatches": 16}),
    ("olmo3", {"advantage.scheme": "dr_grpo", "loss.clip_low": 0.2, "loss.clip_high": 0.272, "kl.coefficient": 0}),
    ("olmo3", {"loss.normalisation": "token", "off_policy.correction": "truncate", "off_policy.high": 2.0}),
    ("olmo3", {"off_policy.proximal": "recompute"}),
    ("ppo", {"kl.coefficient": 0.02, "kl.place": "reward", "loss.clip_high": 0.2, "minibatches": 8, "epochs": 1}),
    ("tulu3_ppo", {"epochs": 4, "minibatches": 1, "kl.coefficient": 0.05, "kl.estimator": "k1", "kl.place": "reward"}),
    ("tulu3_ppo", {"truncated_score": -10, "reward_scale": 10, "gae.discount": 1, "gae.trace_decay": 0.95}),
    ("tulu3_ppo", {"gae.whiten": True, "value.clip": 0.2, "value.coefficient": 0.1, "loss.clip_high": 0.2}),
]


@pytest.mark.parametrize(("algorithm", "numbers"), PUBLISHED)
def test_a_preset_has_the_numbers_of_its_source(algorithm: str, numbers: dict[str, Any]) -> None:
    stage = stage_of(algorithm)
    assert stage.kind == ("ppo" if algorithm in PPO else "grpo")
    for key, value in numbers.items():
        found: Any = stage
        for name in key.split("."):
            found = getattr(found, name)
        assert found == value, key


@pytest.mark.parametrize("algorithm", sorted(NO_KL))
def test_these_have_no_kl_penalty(algorithm: str) -> None:
    assert stage_of(algorithm).kl.coefficient == 0


@pytest.mark.parametrize("algorithm", ["dapo", "cispo", "olmo3"])
def test_these_sample_other_groups_in_place_of_those_without_signal(algorithm: str) -> None:
    stage = stage_of(algorithm)
    assert isinstance(stage, GrpoStage) and stage.dynamic_sampling is not None


def test_a_key_beside_the_algorithm_wins_and_leaves_its_neighbours_alone() -> None:
    stage = stage_of("dapo", loss={"clip_high": 0.4}, minibatches=2, overlong=None)
    assert (stage.loss.clip_high, stage.loss.clip_low, stage.loss.normalisation) == (0.4, 0.2, "token")
    assert (stage.minibatches, stage.overlong) == (2, None)


def test_an_unknown_algorithm_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValidationError, match=r"no algorithm is called 'dappo'; did you mean `dapo`\?"):
        stage_of("dappo")


def test_a_preset_of_another_kind_of_stage_is_refused() -> None:
    with pytest.raises(ValidationError, match="algorithm tulu3_ppo is a preset for kind: ppo; found kind: grpo"):
        stage_of("tulu3_ppo", kind="grpo")


def test_presets_say_nothing_about_learning_rates_or_the_size_of_a_batch() -> None:
    for algorithm in preset_names():
        stage = stage_of(algorithm)
        assert (stage.optimizer.learning_rate, stage.prompts_per_step, stage.samples_per_prompt) == (1e-3, 16, 4)
