# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""The reference model: where it stands, how it moves, and that a checkpoint knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from learner_inputs import AdvantageLoss, random_batch, save_whole, settings_of, whole_weights
from learner_ranks import run_on_ranks
from tiny_models import save_tiny_model
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.device_mesh import DeviceMesh

from rlpost.errors import RecipeError
from rlpost.interfaces import POLICY, REFERENCE
from rlpost.learner.local import LocalLearner
from rlpost.learner.sharding import gathered
from rlpost.recipe.sections import LoraConfig
from rlpost.records import FloatArray


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("reference") / "model", tied=True, seed=9, heads=4)


def with_reference(model_dir: Path, mesh: DeviceMesh, *, steps: int = 2) -> LocalLearner:
    learner = LocalLearner(settings_of(model_dir, keep_reference=True, optimizer={"learning_rate": 1e-2}), mesh)
    for seed in range(steps):
        learner.step(random_batch(seed=seed), AdvantageLoss())
    return learner


def both(learner: LocalLearner) -> tuple[FloatArray, FloatArray]:
    """Log-probabilities under reference and policy."""
    batch = random_batch(seed=9)
    return learner.logprobs(batch, of=REFERENCE), learner.logprobs(batch, of=POLICY)


def test_a_refresh_with_mix_one_makes_the_reference_the_policy(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = with_reference(model_dir, mesh)
    start, policy = both(learner)
    assert np.abs(start - policy).max() > 0.1
    learner.refresh_reference(1.0)
    reference, unchanged = both(learner)
    assert np.array_equal(reference, policy)
    assert np.array_equal(unchanged, policy)
    learner.step(random_batch(seed=3), AdvantageLoss())
    after, moved = both(learner)
    assert np.array_equal(after, reference)
    assert np.abs(moved - after).max() > 0.1


def test_a_mix_lies_between_reference_and_policy_weight_by_weight(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = with_reference(model_dir, mesh)
    start, policy = whole_weights(with_reference(model_dir, mesh, steps=0)), whole_weights(learner)
    learner.refresh_reference(0.25)
    assert learner.rank._reference is not None
    for name, weight in learner.rank._reference.named_parameters():
        expected = 0.75 * start[name] + 0.25 * policy[name]
        assert (gathered(weight) - expected).abs().max() <= 1e-6, name


def test_a_refreshed_reference_comes_back_with_its_checkpoint(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    learner, resumed = with_reference(model_dir, mesh), with_reference(model_dir, mesh, steps=0)
    learner.refresh_reference(0.5)
    learner.step(random_batch(seed=5), AdvantageLoss())
    save_whole(learner, tmp_path / "first")
    both(resumed)  # A forward pass before loading must not leave old weights behind.
    resumed.load_checkpoint(tmp_path / "first")
    for found, expected in zip(both(resumed), both(learner), strict=True):
        assert np.array_equal(found, expected)
    save_whole(resumed, tmp_path / "second")
    again = with_reference(model_dir, mesh, steps=0)
    again.load_checkpoint(tmp_path / "second")
    assert np.array_equal(both(again)[0], both(learner)[0])


def test_only_a_refreshed_reference_takes_room_in_checkpoints(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    learner = with_reference(model_dir, mesh)
    save_whole(learner, tmp_path / "before")
    learner.refresh_reference(1.0)
    save_whole(learner, tmp_path / "after")
    tensors = [
        set(FileSystemReader(tmp_path / name).read_metadata().state_dict_metadata) for name in ("before", "after")
    ]
    assert not any(name.startswith("reference.") for name in tensors[0])
    assert {name.removeprefix("reference.") for name in tensors[1] - tensors[0]} == {
        name.removeprefix("model.") for name in tensors[0] if name.startswith("model.")
    }


def refreshed_logprobs(mesh: DeviceMesh, model_dir: Path, directory: Path) -> tuple[FloatArray, FloatArray]:
    learner = with_reference(model_dir, mesh)
    learner.refresh_reference(0.5)
    save_whole(learner, directory)
    resumed = with_reference(model_dir, mesh, steps=0)
    resumed.load_checkpoint(directory)
    assert all(np.array_equal(found, expected) for found, expected in zip(both(resumed), both(learner), strict=True))
    return both(learner)


def test_two_ranks_refresh_as_one(model_dir: Path, tmp_path: Path) -> None:
    one, two = (run_on_ranks(refreshed_logprobs, model_dir, tmp_path / str(ranks), ranks=ranks) for ranks in (1, 2))
    assert np.abs(one[0] - two[0]).max() <= 1e-3
    assert np.abs(one[0] - one[1]).max() > 0.1


def test_the_reference_of_an_adapter_cannot_be_refreshed(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir, keep_reference=True, lora=LoraConfig(rank=2, alpha=2)), mesh)
    with pytest.raises(RecipeError, match=r"remove kl\.refresh_every or lora"):
        learner.refresh_reference(0.5)
