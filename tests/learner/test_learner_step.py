# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_inputs import (
    AdvantageLoss,
    batch_of,
    gradient_of,
    random_batch,
    random_rows,
    relative_distance,
    same_bits,
    settings_of,
    whole_weights,
)
from tiny_models import save_tiny_model
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from rlpost.errors import TrainingError
from rlpost.interfaces import POLICY, REFERENCE
from rlpost.learner.local import LocalLearner
from rlpost.learner.model import trainable_parameters
from rlpost.learner.sharding import decoder_layers
from rlpost.learner.shares import shares_of
from rlpost.losses.cross_entropy import CrossEntropy
from rlpost.losses.preference import PreferenceLoss
from rlpost.train_records import StepReport

LARGE, SMALL = {"micro_batch_tokens": 8192}, {"micro_batch_tokens": 48}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("step") / "model", tied=True, seed=2, heads=4)


def three_steps(learner: LocalLearner) -> list[StepReport]:
    return [learner.step(random_batch(seed=seed), AdvantageLoss()) for seed in range(3)]


def assert_same_training(
    model_dir: Path, mesh: DeviceMesh, one: dict[str, Any], other: dict[str, Any], *, tolerance: float
) -> None:
    """Three steps with each of two learner sections give the same losses, gradient norms, metrics and weights."""
    learners = [LocalLearner(settings_of(model_dir, learner=learner), mesh) for learner in (one, other)]
    reports = [three_steps(learner) for learner in learners]
    for first, second in zip(*reports, strict=True):
        assert second.loss == pytest.approx(first.loss, rel=tolerance)
        assert second.grad_norm == pytest.approx(first.grad_norm, rel=tolerance)
        assert second.metrics == pytest.approx(dict(first.metrics), rel=tolerance)
    weights = [whole_weights(learner) for learner in learners]
    assert relative_distance(weights[1], weights[0]) <= tolerance


def test_split_into_micro_batches_equals_whole(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir, learner=SMALL), mesh)
    budget = learner.rank._settings.learner.micro_batch_tokens
    (share,) = shares_of(random_batch(seed=0), ranks=1, token_budget=budget).shares
    assert len(share.micro_batches) == 3
    assert_same_training(model_dir, mesh, LARGE, SMALL, tolerance=1e-5)


def test_activation_checkpointing_changes_nothing(model_dir: Path, mesh: DeviceMesh) -> None:
    checkpointing = {**LARGE, "activation_checkpointing": True}
    assert_same_training(model_dir, mesh, LARGE, checkpointing, tolerance=0)


@pytest.mark.parametrize(("wanted", "calls_per_layer"), [(False, 1), (True, 2)])
def test_activation_checkpointing_runs_every_layer_again_in_the_backward_pass(
    model_dir: Path, mesh: DeviceMesh, wanted: bool, calls_per_layer: int
) -> None:
    learner = LocalLearner(settings_of(model_dir, learner={"activation_checkpointing": wanted}), mesh)
    layers = decoder_layers(learner.rank._policy.module)
    calls = [0] * len(layers)
    for index, layer in enumerate(layers):

        def count(*_: object, index: int = index) -> None:
            calls[index] += 1

        layer.get_submodule("input_layernorm").register_forward_hook(count)
    learner.step(random_batch(seed=0), CrossEntropy())
    assert calls == [calls_per_layer] * 2


def test_a_pair_stays_together_however_small_the_budget(model_dir: Path, mesh: DeviceMesh) -> None:
    rows = [
        replace(row, columns={"reference_logprobs_T": row.columns["behaviour_logprobs_T"]})
        for row in random_rows(seed=0, lengths=(20, 30, 12, 8))
    ]
    batch = batch_of(rows, rows_per_unit=2)
    loss = PreferenceLoss(kind="sigmoid_norm", beta=0.1)
    reports = [
        LocalLearner(settings_of(model_dir, learner=learner), mesh).step(batch, loss)
        for learner in (LARGE, {"micro_batch_tokens": 16})
    ]
    assert reports[1].loss == pytest.approx(reports[0].loss, rel=1e-5)
    assert reports[1].metrics == pytest.approx(dict(reports[0].metrics), rel=1e-4)


def test_an_update_is_that_of_plain_adamw_on_the_clipped_gradient(model_dir: Path, mesh: DeviceMesh) -> None:
    optimizer = {
        "learning_rate": 3e-3,
        "schedule": "linear",
        "warmup_ratio": 0.2,
        "weight_decay": 0.1,
        "betas": (0.8, 0.95),
        "eps": 1e-6,
        "max_grad_norm": 0.5,
    }
    learner = LocalLearner(settings_of(model_dir, optimizer=optimizer), mesh)
    plain = {name: torch.nn.Parameter(weight) for name, weight in whole_weights(learner).items()}
    vectors = [weight for name, weight in plain.items() if "norm" in name or name.endswith("bias")]
    matrices = [weight for weight in plain.values() if not any(weight is vector for vector in vectors)]
    assert len(vectors) == sum(weight.ndim == 1 for weight in plain.values()) > 0
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-6)
    for step, rate in enumerate([1.5e-3, 3e-3, 3e-3, 3e-3 * 7 / 8]):
        batch = random_batch(seed=step)
        for name, gradient in gradient_of(learner, batch, AdvantageLoss()).items():
            plain[name].grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(plain.values(), 0.5)
        assert norm > 0.5
        for group in adamw.param_groups:
            group["lr"] = rate
        adamw.step()

        report = learner.step(batch, AdvantageLoss())
        assert report.grad_norm == pytest.approx(float(norm), rel=1e-6)
        assert report.learning_rate == pytest.approx(rate)
        found = whole_weights(learner)
        assert max(float((found[name] - plain[name].detach()).abs().max()) for name in plain) <= 1e-7


def test_gains_of_norms_do_not_decay_and_matrices_do(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir, optimizer={"learning_rate": 0.1, "weight_decay": 0.5}), mesh)
    before = whole_weights(learner)
    rows = random_rows(seed=0)
    zero_T = np.zeros_like(rows[0].columns["advantages_T"])
    learner.step(batch_of([replace(rows[0], columns={**rows[0].columns, "advantages_T": zero_T})]), AdvantageLoss())
    for name, weight in whole_weights(learner).items():
        expected = before[name] if weight.ndim == 1 else before[name] * (1 - 0.1 * 0.5)
        assert torch.allclose(weight, expected, rtol=1e-6, atol=0), name


def test_the_schedule_follows_planned_steps_so_that_steps_left_out_move_it_on(
    model_dir: Path, mesh: DeviceMesh
) -> None:
    optimizer = {"learning_rate": 1.0, "schedule": "linear", "warmup_ratio": 0.2}
    learner = LocalLearner(settings_of(model_dir, optimizer=optimizer), mesh)
    rates = [
        learner.step(random_batch(seed=0), AdvantageLoss(), planned_step=planned).learning_rate
        for planned in (1, 4, 9, None)
    ]
    assert rates == pytest.approx([1.0, 6 / 8, 1 / 8, 7 / 8]), "without an index, three steps were taken before"
    assert learner.rank.steps_taken == 4


@pytest.mark.parametrize("seed", [0, 18_000_000_000_000, 20_260_822_123_456, 2**62 - 1])
def test_every_seed_that_a_recipe_takes_is_one_for_the_learner(model_dir: Path, mesh: DeviceMesh, seed: int) -> None:
    learner = LocalLearner(settings_of(model_dir, seed=seed), mesh)
    assert learner.step(random_batch(seed=0), CrossEntropy(), planned_step=10**9).step == 1


def test_a_report_says_what_happened(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir, learner=SMALL), mesh)
    batch = random_batch(seed=0)
    logprobs_T = learner.logprobs(batch, of=POLICY)
    report = learner.step(batch, AdvantageLoss())
    scored = int((batch.weights_T != 0).sum())
    credit_T = batch.weights_T * batch.columns["advantages_T"]
    assert (report.step, learner.rank.steps_taken) == (1, 1)
    assert (report.tokens, report.scored_tokens) == (127, scored)
    assert report.loss == pytest.approx(-(credit_T * logprobs_T).sum() / batch.components[0].denominator, rel=1e-5)
    assert report.metrics["logprob"] == pytest.approx(logprobs_T.sum() / scored, rel=1e-5)
    assert report.metrics["smallest"] == pytest.approx(-logprobs_T.min(), rel=1e-5)
    assert report.seconds > 0


def test_training_lowers_the_loss(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir), mesh)
    losses = [learner.step(random_batch(seed=0), CrossEntropy()).loss for _ in range(10)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_step_that_is_not_finite_is_refused_and_leaves_everything_as_it_was(
    model_dir: Path, mesh: DeviceMesh, value: float
) -> None:
    learner, undisturbed = (LocalLearner(settings_of(model_dir), mesh) for _ in range(2))
    for each in (learner, undisturbed):
        each.step(random_batch(seed=0), AdvantageLoss())
    before = whole_weights(learner)
    rows = random_rows(seed=1)
    broken_T = np.full_like(rows[0].columns["advantages_T"], value)
    broken = replace(rows[0], columns={**rows[0].columns, "advantages_T": broken_T})
    with pytest.raises(TrainingError, match="must be finite; step 1 gave"):
        learner.step(batch_of([broken, *rows[1:]]), AdvantageLoss())
    assert learner.rank.steps_taken == 1
    assert same_bits(whole_weights(learner), before)

    for each in (learner, undisturbed):
        each.step(random_batch(seed=2), AdvantageLoss())
    assert same_bits(whole_weights(learner), whole_weights(undisturbed))


def test_bfloat16_computes_near_float32_and_keeps_float32_masters(model_dir: Path, mesh: DeviceMesh) -> None:
    learners = [
        LocalLearner(settings_of(model_dir, learner={"compute_dtype": name}), mesh) for name in ("float32", "bfloat16")
    ]
    exact, rounded = ([learner.step(random_batch(seed=0), CrossEntropy()) for _ in range(5)] for learner in learners)
    for one, other in zip(exact, rounded, strict=True):
        assert one.loss != other.loss
        assert other.loss == pytest.approx(one.loss, rel=0.02)
    parameters = trainable_parameters(learners[1].rank._policy.module)
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    assert {learners[1].rank._policy.optimizers[0].state[parameter]["exp_avg"].dtype for parameter in parameters} == {
        torch.float32
    }
    assert all(isinstance(parameter, DTensor) for parameter in parameters)


def test_the_same_seed_trains_bit_for_bit_the_same(model_dir: Path, mesh: DeviceMesh) -> None:
    learners = [LocalLearner(settings_of(model_dir, learner=SMALL), mesh) for _ in range(2)]
    for learner in learners:
        three_steps(learner)
    assert same_bits(whole_weights(learners[0]), whole_weights(learners[1]))


def test_the_reference_stays_at_the_start(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir, keep_reference=True), mesh)
    batch = random_batch(seed=0)
    start = learner.logprobs(batch, of=POLICY)
    three_steps(learner)
    assert np.array_equal(learner.logprobs(batch, of=REFERENCE), start)
    assert np.abs(learner.logprobs(batch, of=POLICY) - start).max() > 0.01
