# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""A value model beside the policy: what it predicts, how it is trained, and that it is saved with the policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from learner_inputs import (
    AdvantageLoss,
    random_batch,
    relative_distance,
    same_bits,
    save_whole,
    settings_of,
    whole_weights,
)
from learner_ranks import run_on_ranks
from tiny_models import save_tiny_model, tiny_qwen3
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from rlpost.errors import ArtifactError, TrainingError
from rlpost.interfaces import LossInputs, LossSums
from rlpost.learner.local import LocalLearner
from rlpost.learner.sharding import gathered
from rlpost.records import FloatArray
from rlpost.settings import CriticSettings
from rlpost.train_records import TrainBatch

CRITIC_RATE = 5e-3


class ActorCriticLoss:
    """Policy gradient and half the squared error of the values, added."""

    columns = frozenset({"advantages_T", "returns_T"})

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        assert inputs.values_T is not None
        policy = -(inputs.weights_T * inputs["advantages_T"] * inputs.logprobs_T).sum()
        value = 0.5 * (inputs.weights_T * (inputs.values_T - inputs["returns_T"]) ** 2).sum()
        return LossSums(total=policy + value, means={"value": (value.detach(), len(inputs.weights_T))}, maxima={})


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("critic") / "model", tied=True, seed=8, heads=4)


@pytest.fixture(scope="module")
def scorer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence classifier whose head is not zero, as a reward model is."""
    directory = tmp_path_factory.mktemp("critic") / "scorer"
    shape = tiny_qwen3(8, tied=True, heads=4).config.to_dict() | {"num_labels": 1}
    torch.manual_seed(1)
    Qwen3ForSequenceClassification(Qwen3Config(**shape)).save_pretrained(directory)
    return directory


def batch_with_returns(*, seed: int, lengths: tuple[int, ...] = (17, 5, 40, 9)) -> TrainBatch:
    batch = random_batch(seed=seed, lengths=lengths)
    returns_T = np.random.default_rng(seed).normal(size=len(batch.token_ids)).astype(np.float32)
    return replace(batch, columns={**batch.columns, "returns_T": returns_T})


def with_critic(model_dir: Path, scorer_dir: Path, mesh: DeviceMesh, **changes: Any) -> LocalLearner:
    critic = CriticSettings(model_dir=str(scorer_dir), learning_rate=CRITIC_RATE)
    return LocalLearner(settings_of(model_dir, critic=critic, **changes), mesh)


def critic_weights(learner: LocalLearner) -> dict[str, Tensor]:
    assert learner.rank._critic is not None
    return {name: gathered(tensor).clone() for name, tensor in learner.rank._critic.module.named_parameters()}


def expected_values(scorer_dir: Path, batch: TrainBatch) -> FloatArray:
    """Of the token before each scored one, one row at a time through plain transformers."""
    model = Qwen3ForSequenceClassification.from_pretrained(scorer_dir).eval()
    rows: list[FloatArray] = []
    for row in torch.split(torch.from_numpy(batch.token_ids).long(), batch.row_lengths_B.tolist()):
        with torch.no_grad():
            outputs = model.score(model.model(input_ids=row[None]).last_hidden_state)[0, :, 0].numpy()
        rows.append(np.concatenate([np.zeros(1, np.float32), outputs[:-1]]))
    return np.where(batch.weights_T != 0, np.concatenate(rows), 0).astype(np.float32)


def test_a_value_is_predicted_from_the_tokens_before(model_dir: Path, scorer_dir: Path, mesh: DeviceMesh) -> None:
    batch = batch_with_returns(seed=0)
    found, expected = with_critic(model_dir, scorer_dir, mesh).values(batch), expected_values(scorer_dir, batch)
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() <= 1e-5
    changed = replace(batch, token_ids=batch.token_ids.copy())
    ends = np.cumsum(batch.row_lengths_B) - 1
    changed.token_ids[ends] = 200
    assert np.array_equal(with_critic(model_dir, scorer_dir, mesh).values(changed), found)


def test_a_critic_from_a_language_model_predicts_zero_at_first(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = with_critic(model_dir, model_dir, mesh)
    batch = batch_with_returns(seed=0)
    assert not learner.values(batch).any()
    learner.step(batch, ActorCriticLoss())
    assert np.array_equal(learner.values(batch) != 0, batch.weights_T != 0)


def test_policy_and_critic_each_take_the_step_that_they_would_take_alone(
    model_dir: Path, scorer_dir: Path, mesh: DeviceMesh
) -> None:
    optimizer = {"schedule": "linear", "max_grad_norm": 0.3}
    learner = with_critic(model_dir, scorer_dir, mesh, optimizer=optimizer)
    alone = LocalLearner(settings_of(model_dir, optimizer=optimizer), mesh)
    plain = Qwen3ForSequenceClassification.from_pretrained(scorer_dir).eval()
    adamw = torch.optim.AdamW(plain.parameters(), betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for step in range(3):
        batch = batch_with_returns(seed=step)
        report = learner.step(batch, ActorCriticLoss())
        assert report.grad_norm == pytest.approx(alone.step(batch, AdvantageLoss()).grad_norm, rel=1e-6)
        norm = plain_critic_step(plain, adamw, batch, rate=CRITIC_RATE * (1 - step / 10))
        assert norm > 0.3
        assert report.metrics["critic_grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert same_bits(whole_weights(learner), whole_weights(alone))
    assert relative_distance(critic_weights(learner), dict(plain.named_parameters())) <= 1e-4


def plain_critic_step(
    model: Qwen3ForSequenceClassification, adamw: torch.optim.Optimizer, batch: TrainBatch, *, rate: float
) -> float:
    columns = (batch.token_ids, batch.weights_T, batch.columns["returns_T"])
    rows = zip(*(torch.split(torch.from_numpy(each), batch.row_lengths_B.tolist()) for each in columns), strict=True)
    loss = torch.zeros(())
    for ids, weights_T, returns_T in rows:
        values_T = model.score(model.model(input_ids=ids.long()[None]).last_hidden_state)[0, :-1, 0]
        loss = loss + 0.5 * (weights_T[1:] * (values_T - returns_T[1:]) ** 2).sum()
    (loss / batch.components[0].denominator).backward()
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3))
    adamw.param_groups[0]["lr"] = rate
    adamw.step()
    adamw.zero_grad()
    return norm


def test_the_critic_learns_the_returns(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = with_critic(model_dir, model_dir, mesh)
    batch = batch_with_returns(seed=0)
    errors = [learner.step(batch, ActorCriticLoss()).metrics["value"] for _ in range(15)]
    assert errors[-1] < 0.2 * errors[0]


def test_a_step_whose_critic_gradient_is_not_finite_changes_neither_model(
    model_dir: Path, scorer_dir: Path, mesh: DeviceMesh
) -> None:
    learner, undisturbed = (with_critic(model_dir, scorer_dir, mesh) for _ in range(2))
    batch = batch_with_returns(seed=0)
    broken_T = np.full_like(batch.columns["returns_T"], np.inf)
    with pytest.raises(TrainingError, match=r"\(critic: nan\)"):
        learner.step(replace(batch, columns={**batch.columns, "returns_T": broken_T}), ActorCriticLoss())
    for each in (learner, undisturbed):
        each.step(batch, ActorCriticLoss())
    assert same_bits(whole_weights(learner), whole_weights(undisturbed))
    assert same_bits(critic_weights(learner), critic_weights(undisturbed))


class Continued(NamedTuple):
    policy: dict[str, Tensor]
    critic: dict[str, Tensor]
    values_T: FloatArray
    shard_share: float


def continued(mesh: DeviceMesh, model_dir: Path, scorer_dir: Path, directory: Path) -> Continued:
    """Two steps, a checkpoint, two more; and the same from the checkpoint on. The last step leaves ranks idle."""
    learner, resumed = (with_critic(model_dir, scorer_dir, mesh) for _ in range(2))
    for seed in range(2):
        learner.step(batch_with_returns(seed=seed), ActorCriticLoss())
    save_whole(learner, directory)
    resumed.load_checkpoint(directory)
    for each in (learner, resumed):
        each.step(batch_with_returns(seed=2), ActorCriticLoss())
        each.step(batch_with_returns(seed=3, lengths=(33,)), ActorCriticLoss())
    assert same_bits(whole_weights(resumed), whole_weights(learner))
    assert same_bits(critic_weights(resumed), critic_weights(learner))
    values_T = learner.values(batch_with_returns(seed=4))
    assert np.array_equal(resumed.values(batch_with_returns(seed=4)), values_T)
    assert learner.rank._critic is not None
    shards = [weight for weight in learner.rank._critic.module.parameters() if isinstance(weight, DTensor)]
    local, whole = sum(shard.to_local().numel() for shard in shards), sum(shard.numel() for shard in shards)
    return Continued(whole_weights(learner), critic_weights(learner), values_T, local / whole)


def test_ranks_agree_and_a_resumed_pair_goes_on_bit_for_bit(model_dir: Path, scorer_dir: Path, tmp_path: Path) -> None:
    one, two = (run_on_ranks(continued, model_dir, scorer_dir, tmp_path / str(ranks), ranks=ranks) for ranks in (1, 2))
    assert relative_distance(two.policy, one.policy) <= 1e-4
    assert relative_distance(two.critic, one.critic) <= 1e-4
    assert np.abs(two.values_T - one.values_T).max() <= 1e-4
    assert (one.shard_share, two.shard_share) == (1.0, pytest.approx(0.5, rel=0.02))


def test_a_checkpoint_without_a_critic_is_refused_for_one_with(
    model_dir: Path, scorer_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    save_whole(LocalLearner(settings_of(model_dir), mesh), tmp_path / "checkpoint")
    with pytest.raises(ArtifactError, match="complete checkpoint of this model"):
        with_critic(model_dir, scorer_dir, mesh).load_checkpoint(tmp_path / "checkpoint")
