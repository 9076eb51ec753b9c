# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""One rank, two ranks and three ranks take the same steps; FSDP really cuts the model into shards."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from learner_inputs import (
    AdvantageLoss,
    batch_of,
    random_batch,
    random_rows,
    relative_distance,
    same_bits,
    save_whole,
    settings_of,
    whole_weights,
)
from learner_ranks import run_on_ranks
from tiny_models import save_tiny_model
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from rlpost.errors import TrainingError
from rlpost.interfaces import POLICY
from rlpost.learner.local import LocalLearner
from rlpost.records import FloatArray
from rlpost.train_records import StepReport, TrainBatch

TOLERANCE = 1e-5
LENGTHS_OF_STEPS = ((17, 5, 40, 9, 23, 2, 31), (60, 4), (33,))
"""The last two leave ranks without a row."""


class Trained(NamedTuple):
    reports: list[StepReport]
    logprobs_T: FloatArray
    weights: dict[str, Tensor]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("ranks") / "model", tied=True, seed=3, heads=4)


def batches() -> list[TrainBatch]:
    return [random_batch(seed=seed, lengths=lengths) for seed, lengths in enumerate(LENGTHS_OF_STEPS)]


def train(mesh: DeviceMesh, model_dir: Path, changes: dict[str, Any]) -> Trained:
    learner = LocalLearner(settings_of(model_dir, **changes), mesh)
    reports = [learner.step(batch, AdvantageLoss()) for batch in batches()]
    logprobs_T = learner.logprobs(random_batch(seed=9), of=POLICY)
    return Trained(reports, logprobs_T, whole_weights(learner))


@cache
def trained(model_dir: Path, ranks: int, micro_batch_tokens: int) -> Trained:
    return run_on_ranks(train, model_dir, {"learner": {"micro_batch_tokens": micro_batch_tokens}}, ranks=ranks)


@pytest.mark.parametrize("micro_batch_tokens", [8192, 48])
@pytest.mark.parametrize("ranks", [2, 3])
def test_more_ranks_take_the_steps_of_one(model_dir: Path, ranks: int, micro_batch_tokens: int) -> None:
    one, many = (trained(model_dir, count, micro_batch_tokens) for count in (1, ranks))
    for expected, found in zip(one.reports, many.reports, strict=True):
        assert found.loss == pytest.approx(expected.loss, rel=TOLERANCE)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=TOLERANCE)
        assert found.metrics == pytest.approx(dict(expected.metrics), rel=TOLERANCE)
        assert (found.tokens, found.scored_tokens) == (expected.tokens, expected.scored_tokens)
    assert relative_distance(many.weights, one.weights) <= TOLERANCE
    assert np.abs(many.logprobs_T - one.logprobs_T).max() <= TOLERANCE


def test_two_ranks_repeat_bit_for_bit(model_dir: Path) -> None:
    changes = {"learner": {"micro_batch_tokens": 48}}
    first, second = (run_on_ranks(train, model_dir, changes, ranks=2) for _ in range(2))
    assert [report.loss for report in first.reports] == [report.loss for report in second.reports]
    assert same_bits(first.weights, second.weights)


def refuse_a_step(mesh: DeviceMesh, model_dir: Path) -> tuple[str, bool]:
    learner = LocalLearner(settings_of(model_dir), mesh)
    before = whole_weights(learner)
    row = random_rows(seed=0, lengths=(20,))[0]
    row.columns["advantages_T"][-1] = np.inf
    # Only one of the ranks has a row, so that only it sees the infinity before the reduction.
    with pytest.raises(TrainingError, match="must be finite") as caught:
        learner.step(batch_of([row]), AdvantageLoss())
    messages: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(messages, str(caught.value))
    assert len(set(messages)) == 1
    return messages[0], same_bits(whole_weights(learner), before)


def test_all_ranks_refuse_a_step_that_is_not_finite_on_one(model_dir: Path) -> None:
    message, unchanged = run_on_ranks(refuse_a_step, model_dir, ranks=2)
    assert "step 0 gave" in message
    assert unchanged


def shard_sizes(mesh: DeviceMesh, model_dir: Path) -> list[tuple[int, int]]:
    """(numbers held by this rank, numbers in all) of parameters, and of one optimizer moment, after a step."""
    learner = LocalLearner(settings_of(model_dir), mesh)
    learner.step(random_batch(seed=0), AdvantageLoss())
    moments = [state["exp_avg"] for state in learner.rank._policy.optimizers[0].state.values()]
    sizes: list[tuple[int, int]] = []
    for tensors in (list(learner.rank._policy.module.parameters()), moments):
        assert all(isinstance(tensor, DTensor) for tensor in tensors)
        local = sum(tensor.to_local().numel() for tensor in tensors if isinstance(tensor, DTensor))
        sizes.append((local, sum(tensor.numel() for tensor in tensors)))
    return sizes


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_rank_holds_its_share_of_weights_and_optimizer(model_dir: Path, ranks: int) -> None:
    for local, whole in run_on_ranks(shard_sizes, model_dir, ranks=ranks):
        assert local / whole == pytest.approx(1 / ranks, rel=0.02)


def checkpoint_continued(
    mesh: DeviceMesh, model_dir: Path, directory: Path, *, save: bool
) -> tuple[dict[str, Tensor], int]:
    """Two steps and a checkpoint, or that checkpoint, and then two more steps."""
    learner = LocalLearner(settings_of(model_dir, optimizer={"schedule": "linear"}), mesh)
    if save:
        for seed in range(2):
            learner.step(random_batch(seed=seed), AdvantageLoss())
        save_whole(learner, directory)
    else:
        learner.load_checkpoint(directory)
    for seed in range(2, 4):
        learner.step(random_batch(seed=seed), AdvantageLoss())
    return whole_weights(learner), learner.rank.steps_taken


def saving(mesh: DeviceMesh, model_dir: Path, directory: Path) -> tuple[dict[str, Tensor], int]:
    return checkpoint_continued(mesh, model_dir, directory, save=True)


def loading(mesh: DeviceMesh, model_dir: Path, directory: Path) -> tuple[dict[str, Tensor], int]:
    return checkpoint_continued(mesh, model_dir, directory, save=False)


@pytest.mark.parametrize(("saved_on", "loaded_on"), [(2, 2), (2, 1), (1, 2), (3, 2)])
def test_a_checkpoint_goes_on_with_any_number_of_ranks(
    model_dir: Path, tmp_path: Path, saved_on: int, loaded_on: int
) -> None:
    directory = tmp_path / "checkpoint"
    uninterrupted, _ = run_on_ranks(saving, model_dir, directory, ranks=saved_on)
    resumed, steps_taken = run_on_ranks(loading, model_dir, directory, ranks=loaded_on)
    assert steps_taken == 4
    if saved_on == loaded_on:
        assert same_bits(resumed, uninterrupted)
    assert relative_distance(resumed, uninterrupted) <= 1e-6


def exported(mesh: DeviceMesh, model_dir: Path, directory: Path) -> dict[str, Tensor]:
    learner = LocalLearner(settings_of(model_dir), mesh)
    learner.step(random_batch(seed=0), AdvantageLoss())
    manifest = learner.write_weights(directory / "weights.safetensors", version=5)
    manifests: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(manifests, manifest)
    assert all(each == manifest for each in manifests)
    learner.export(directory / "model")
    return whole_weights(learner)


def test_two_ranks_write_whole_weights_once(model_dir: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weights = run_on_ranks(exported, model_dir, tmp_path, ranks=2)
    written, model = load_file(tmp_path / "weights.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(written.pop("lm_head.weight"), weights["model.embed_tokens.weight"])
    assert same_bits(written, weights)
    assert same_bits(model, weights)
