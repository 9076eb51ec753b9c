# pyright: reportPrivateUsage=false
# What an optimizer holds inside a learner is what these tests are about.
"""Muon, AdEMAMix and groups of parameters: on one rank and on two, and from a checkpoint on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learner_inputs import AdvantageLoss, random_batch, relative_distance, same_bits, settings_of, whole_weights
from learner_ranks import run_on_ranks
from tiny_models import save_tiny_model
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from rlpost.errors import RecipeError
from rlpost.learner.local import LocalLearner

KINDS = pytest.mark.parametrize("kind", ["muon", "ademamix"])


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("optimizers") / "model", tied=True, seed=3, heads=4)


def learner_with(mesh: DeviceMesh, model_dir: Path, **optimizer: Any) -> LocalLearner:
    return LocalLearner(settings_of(model_dir, optimizer=optimizer), mesh)


def step(learner: LocalLearner, *seeds: int) -> None:
    for seed in seeds:
        learner.step(random_batch(seed=seed), AdvantageLoss())


def after_three_steps(mesh: DeviceMesh, model_dir: Path, kind: str) -> dict[str, Tensor]:
    learner = learner_with(mesh, model_dir, kind=kind, weight_decay=0.1)
    step(learner, 0, 1, 2)
    return whole_weights(learner)


@KINDS
def test_two_ranks_take_the_steps_of_one(model_dir: Path, kind: str) -> None:
    one, two = (run_on_ranks(after_three_steps, model_dir, kind, ranks=ranks) for ranks in (1, 2))
    # Muon multiplies matrices in bfloat16, whose rounding depends on how they are cut.
    assert relative_distance(two, one) <= (2e-3 if kind == "muon" else 1e-5)


def continued(mesh: DeviceMesh, model_dir: Path, directory: Path, kind: str) -> bool:
    straight, interrupted, resumed = (learner_with(mesh, model_dir, kind=kind) for _ in range(3))
    step(straight, 0, 1, 2, 3)
    step(interrupted, 0, 1)
    interrupted.save_checkpoint(directory)
    assert interrupted.finish_checkpoint(wait=True)
    resumed.load_checkpoint(directory)
    step(resumed, 2, 3)
    return same_bits(whole_weights(resumed), whole_weights(straight))


@KINDS
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_resumed_learner_continues_bit_for_bit(model_dir: Path, tmp_path: Path, kind: str, ranks: int) -> None:
    assert run_on_ranks(continued, model_dir, tmp_path / "checkpoint", kind, ranks=ranks)


def test_muon_updates_the_matrices_of_layers_and_adamw_everything_else(mesh: DeviceMesh, model_dir: Path) -> None:
    policy = learner_with(mesh, model_dir, kind="muon").rank._policy
    muon, adamw = policy.optimizers
    names = {id(parameter): name for name, parameter in policy.module.named_parameters()}
    by_muon, by_adamw = (
        {names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]}
        for optimizer in (muon, adamw)
    )
    assert type(muon) is torch.optim.Muon
    assert by_muon == {name for name in names.values() if ".layers." in name and name.endswith("proj.weight")}
    assert "model.embed_tokens.weight" in by_adamw
    assert by_muon | by_adamw == set(names.values()) and not by_muon & by_adamw


def test_muon_turns_a_gradient_into_a_step_without_preferred_directions(mesh: DeviceMesh, model_dir: Path) -> None:
    learner = learner_with(mesh, model_dir, kind="muon", momentum=0.0)
    before = whole_weights(learner)
    step(learner, 0)
    name = next(name for name in before if name.endswith("o_proj.weight"))
    sizes = torch.linalg.svdvals(whole_weights(learner)[name] - before[name])
    assert sizes.max() / sizes.median() < 2, "AdamW's first step has one singular value above all others"


def test_groups_have_their_own_learning_rate_under_the_same_schedule(mesh: DeviceMesh, model_dir: Path) -> None:
    groups = [
        {"parameters": ["*embed_tokens*"], "learning_rate": 0.0},
        {"parameters": ["*norm*"], "learning_rate": 1e-2},
    ]
    learner = learner_with(mesh, model_dir, schedule="linear", groups=groups)
    before = whole_weights(learner)
    step(learner, 0)
    after = whole_weights(learner)
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before}
    assert moved["model.embed_tokens.weight"] == 0.0
    assert moved["model.norm.weight"] == pytest.approx(1e-2, rel=0.02), "AdamW's first step is the learning rate"
    assert moved["model.layers.0.mlp.up_proj.weight"] == pytest.approx(1e-3, rel=0.02)


def test_a_pattern_that_matches_nothing_is_refused(mesh: DeviceMesh, model_dir: Path) -> None:
    groups = [{"parameters": ["*embedding*"], "learning_rate": 0.1}]
    with pytest.raises(RecipeError, match=r"'\*embedding\*' matches none of model.embed_tokens.weight"):
        learner_with(mesh, model_dir, groups=groups)
