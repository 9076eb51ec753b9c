# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""Settings and batches for the tests of the learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import BYTE_VOCAB_SIZE
from torch import Tensor

from rlpost.interfaces import LossFn, LossInputs, LossSums
from rlpost.learner.local import LocalLearner
from rlpost.learner.metric_sums import MetricSums
from rlpost.learner.sharding import gathered
from rlpost.recipe.optimizer import OptimizerConfig
from rlpost.recipe.sections import LearnerConfig
from rlpost.settings import LearnerSettings
from rlpost.train_records import TrainBatch, TrainRow, one_component

ROW_LENGTHS = (17, 5, 40, 9, 23, 2, 31)


def settings_of(
    model_dir: Path, *, optimizer: dict[str, Any] | None = None, learner: dict[str, Any] | None = None, **changes: Any
) -> LearnerSettings:
    """Float32 on one thread, learning rate 1e-3 without a schedule, unless said otherwise."""
    optimizer_options: dict[str, Any] = {"learning_rate": 1e-3, **(optimizer or {})}
    settings = LearnerSettings(
        model_dir=str(model_dir),
        model_dtype="float32",
        trust_remote_code=False,
        device="cpu",
        threads=1,
        total_steps=10,
        optimizer=OptimizerConfig(**optimizer_options),
        learner=LearnerConfig(**(learner or {})),
        lora=None,
        head="language_model",
        critic=None,
        dropout=False,
        keep_reference=False,
        seed=0,
        deterministic=True,
    )
    return replace(settings, **changes)


def random_rows(*, seed: int, lengths: Sequence[int] = ROW_LENGTHS) -> list[TrainRow]:
    """Random tokens; the later half of each row (at least its last token) carries a loss weight."""
    random = np.random.default_rng(seed)
    rows: list[TrainRow] = []
    for length in lengths:
        weights_T = (np.arange(length) >= max(1, length // 2)).astype(np.float32)
        rows.append(
            TrainRow(
                token_ids=random.integers(2, BYTE_VOCAB_SIZE, length).astype(np.int32),
                weights_T=weights_T,
                columns={
                    "advantages_T": random.normal(size=length).astype(np.float32),
                    "behaviour_logprobs_T": -random.exponential(size=length).astype(np.float32),
                },
            )
        )
    return rows


def batch_of(rows: Sequence[TrainRow], *, temperature: float = 1.0, rows_per_unit: int = 1) -> TrainBatch:
    """One mean over the weighted tokens."""
    denominator = float(sum(row.weights_T.sum() for row in rows))
    components = one_component("tokens", denominator)
    return TrainBatch.of(rows, components=components, temperature=temperature, rows_per_unit=rows_per_unit)


def random_batch(*, seed: int, lengths: Sequence[int] = ROW_LENGTHS, temperature: float = 1.0) -> TrainBatch:
    return batch_of(random_rows(seed=seed, lengths=lengths), temperature=temperature)


def whole_weights(learner: LocalLearner) -> dict[str, Tensor]:
    """Copies of all parameters, whole; a collective."""
    return {name: gathered(tensor).clone() for name, tensor in learner.rank._policy.module.named_parameters()}


def gradient_of(learner: LocalLearner, batch: TrainBatch, loss: LossFn) -> dict[str, Tensor]:
    """Whole gradients of the batch as one micro-batch, which are gone from the learner afterwards."""
    rank = learner.rank
    rank._backward(batch, list(range(len(batch.row_lengths_B))), loss, MetricSums(several_components=False))
    gradients: dict[str, Tensor] = {}
    for name, weight in learner.rank._policy.module.named_parameters():
        assert weight.grad is not None, name
        gradients[name] = gathered(weight.grad).clone()
    learner.rank._policy.optimizers[0].zero_grad()
    return gradients


def save_whole(learner: LocalLearner, directory: Path) -> None:
    """A checkpoint that is on disk."""
    learner.save_checkpoint(directory)
    assert learner.finish_checkpoint(wait=True)


def relative_distance(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest, over all weights, of |found - expected| / |expected| as vectors."""
    assert found.keys() == expected.keys()
    return max(float((found[name] - expected[name]).norm() / expected[name].norm()) for name in expected)


def same_bits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


class AdvantageLoss:
    """`-sum weight * advantage * log pi`, with every metric that a loss can report."""

    columns = frozenset({"advantages_T"})

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        total = -(inputs.weights_T * inputs["advantages_T"] * inputs.logprobs_T).sum()
        logprobs_T = inputs.logprobs_T.detach()
        return LossSums(
            total=total,
            means={"logprob": (logprobs_T.sum(), len(logprobs_T))},
            maxima={"smallest": -logprobs_T.min()},
        )
