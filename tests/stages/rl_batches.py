"""Stages of reinforcement learning, and the batches that they make of groups."""

from __future__ import annotations

from typing import Any

from fakes import FakeLearner

from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import RolloutGroup
from rlpost.stages.rl.batch import Minibatch, advantage_for, train_batches
from rlpost.stages.rl.loop import loss_of
from rlpost.train_records import TrainBatch

SETTINGS: dict[str, Any] = {
    "name": "rl",
    "data": ["sums"],
    "steps": 1,
    "prompts_per_step": 2,
    "samples_per_prompt": 2,
    "sampling": {"max_tokens": 10, "temperature": 0.5},
    "optimizer": {"learning_rate": 1e-3},
}


def grpo(**changes: Any) -> GrpoStage:
    return GrpoStage.model_validate(SETTINGS | {"kind": "grpo", "advantage": {"scheme": "dr_grpo"}} | changes)


def ppo(**changes: Any) -> PpoStage:
    return PpoStage.model_validate(SETTINGS | {"kind": "ppo"} | changes)


def batches_of(
    groups: list[RolloutGroup], stage: GrpoStage | PpoStage, learner: FakeLearner | None = None, *, version: int = 0
) -> list[TrainBatch]:
    return [batch for _, batch in minibatches_of(groups, stage, learner, version=version)]


def minibatches_of(
    groups: list[RolloutGroup],
    stage: GrpoStage | PpoStage,
    learner: FakeLearner | None = None,
    *,
    version: int = 0,
    seed: int = 0,
) -> list[Minibatch]:
    return train_batches(
        groups,
        learner or FakeLearner(),
        stage,
        columns=loss_of(stage).columns,
        advantage=advantage_for(stage),
        version=version,
        seed=seed,
    )
