"""Batches of several components: RL tokens beside demonstration tokens, each with its own denominator and weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learner_inputs import AdvantageLoss, batch_of, gradient_of, random_rows, same_bits, settings_of, whole_weights
from learner_ranks import run_on_ranks
from tiny_models import save_tiny_model
from torch.distributed.device_mesh import DeviceMesh

from rlpost.errors import RecipeError
from rlpost.interfaces import POLICY
from rlpost.learner.local import LocalLearner
from rlpost.learner.metric_sums import MetricSums
from rlpost.learner.shares import shares_of
from rlpost.losses.cross_entropy import CrossEntropy
from rlpost.losses.parts import ComponentLosses
from rlpost.train_records import Component, TrainBatch, TrainRow, one_component

BOTH = ComponentLosses(losses={"rl": AdvantageLoss(), "demonstration": CrossEntropy()})


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("components") / "model", tied=True, seed=3)


def of_component(row: TrainRow, place: int) -> TrainRow:
    return replace(row, component_T=np.full(len(row.token_ids), place, np.uint8))


def token_count(rows: list[TrainRow]) -> float:
    return float(sum(row.weights_T.sum() for row in rows))


def hybrid(rl: list[TrainRow], demonstrations: list[TrainRow], *, weight: float = 1.0) -> TrainBatch:
    shown = [replace(row, columns={}) for row in demonstrations]
    return TrainBatch.of(
        [*(of_component(row, 0) for row in rl), *(of_component(row, 1) for row in shown)],
        components=(
            Component(name="rl", denominator=token_count(rl) or 1.0),
            Component(name="demonstration", denominator=token_count(shown) or 1.0, weight=weight),
        ),
    )


def weights_after(model_dir: Path, mesh: DeviceMesh, batch: TrainBatch, loss: object) -> dict[str, torch.Tensor]:
    learner = LocalLearner(settings_of(model_dir, learner={"micro_batch_tokens": 64}), mesh)
    for _ in range(3):
        learner.step(batch, loss)  # pyright: ignore[reportArgumentType] - losses of several kinds
    return whole_weights(learner)


def test_a_hybrid_batch_of_rl_rows_alone_is_rl_bit_for_bit(model_dir: Path, mesh: DeviceMesh) -> None:
    rows = random_rows(seed=1)
    mixed = weights_after(model_dir, mesh, hybrid(rows, []), BOTH)
    assert same_bits(mixed, weights_after(model_dir, mesh, batch_of(rows), AdvantageLoss()))


def test_a_hybrid_batch_of_demonstrations_alone_is_sft_bit_for_bit(model_dir: Path, mesh: DeviceMesh) -> None:
    rows = random_rows(seed=2)
    mixed = weights_after(model_dir, mesh, hybrid([], rows), BOTH)
    assert same_bits(mixed, weights_after(model_dir, mesh, batch_of(rows), CrossEntropy()))


def test_the_gradient_of_a_mixed_batch_is_the_weighted_sum_of_each_components_mean(
    model_dir: Path, mesh: DeviceMesh
) -> None:
    rl, shown = random_rows(seed=1, lengths=(17, 9)), random_rows(seed=2, lengths=(12, 30, 5))
    learner = LocalLearner(settings_of(model_dir), mesh)
    batch = hybrid(rl, shown, weight=0.25)
    learner.rank._backward(batch, range(5), BOTH, MetricSums(several_components=True))  # pyright: ignore[reportPrivateUsage]
    module = learner.rank._policy.module  # pyright: ignore[reportPrivateUsage]
    mixed = {name: weight.grad.full_tensor().clone() for name, weight in module.named_parameters()}
    learner.rank._policy.optimizers[0].zero_grad()  # pyright: ignore[reportPrivateUsage]
    alone = [gradient_of(learner, batch_of(rl), AdvantageLoss()), gradient_of(learner, batch_of(shown), CrossEntropy())]
    for name, found in mixed.items():
        expected = alone[0][name] + 0.25 * alone[1][name]
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7), name


def test_one_row_may_hold_tokens_of_both(model_dir: Path, mesh: DeviceMesh) -> None:
    row = random_rows(seed=4, lengths=(20,))[0]
    component_T = np.zeros(20, np.uint8)
    component_T[10:14] = 1  # a forced prefix of four tokens; the row is trained from token 10 on
    components = (Component(name="rl", denominator=6.0), Component(name="demonstration", denominator=4.0))
    batch = TrainBatch.of([replace(row, component_T=component_T)], components=components)
    learner = LocalLearner(settings_of(model_dir), mesh)
    logprobs_T = learner.logprobs(batch, of=POLICY)
    report = learner.step(batch, BOTH)
    credit = row.columns["advantages_T"][14:] @ logprobs_T[14:]
    assert report.metrics["rl/loss"] == pytest.approx(-credit / 6, rel=1e-5)
    assert report.metrics["demonstration/loss"] == pytest.approx(-logprobs_T[10:14].mean(), rel=1e-5)
    assert report.loss == pytest.approx(report.metrics["rl/loss"] + report.metrics["demonstration/loss"], rel=1e-6)
    assert report.metrics["rl/logprob"] == pytest.approx(logprobs_T[14:].mean(), rel=1e-5)


def mixed_step(mesh: DeviceMesh, model_dir: Path) -> tuple[float, dict[str, torch.Tensor]]:
    learner = LocalLearner(settings_of(model_dir, learner={"micro_batch_tokens": 32}), mesh)
    report = learner.step(hybrid(random_rows(seed=1), random_rows(seed=2, lengths=(12, 30, 5))), BOTH)
    return report.loss, whole_weights(learner)


def test_ranks_agree_on_a_mixed_batch(model_dir: Path) -> None:
    one_loss, one = run_on_ranks(mixed_step, model_dir, ranks=1)
    two_loss, two = run_on_ranks(mixed_step, model_dir, ranks=2)
    assert two_loss == pytest.approx(one_loss, rel=1e-6)
    assert all(torch.allclose(two[name], one[name], atol=1e-5) for name in one)


def test_a_component_without_a_loss_is_refused_by_name(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir), mesh)
    loss = ComponentLosses(losses={"rl": AdvantageLoss()})
    with pytest.raises(RecipeError, match="demonstration has none, losses are given for rl"):
        learner.step(hybrid(random_rows(seed=1), random_rows(seed=2)), loss)


def test_a_column_that_nobody_filled_in_is_refused_before_the_step(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir), mesh)
    rows = [replace(row, columns={}) for row in random_rows(seed=1)]
    with pytest.raises(RecipeError, match="AdvantageLoss reads advantages_T, and the batch has no columns"):
        learner.step(batch_of(rows), AdvantageLoss())
    assert learner.rank.steps_taken == 0


def test_a_demonstration_costs_eight_bytes_a_token_on_its_way_to_a_rank() -> None:
    rows = [replace(row, columns={}) for row in random_rows(seed=1)]
    batch = TrainBatch.of(rows, components=one_component("demonstration", token_count(rows)))
    for share in shares_of(batch, ranks=2, token_budget=64).shares:
        arrays = (share.batch.token_ids, share.batch.weights_T, *share.batch.columns.values())
        assert sum(array.nbytes for array in arrays) == 8 * len(share.batch.token_ids)
        assert share.batch.component_T is None and share.batch.sources == ()


def test_each_rank_gets_its_own_rows_and_together_they_are_the_batch() -> None:
    batch = batch_of(random_rows(seed=5))
    shared = shares_of(batch, ranks=3, token_budget=40)
    assert sorted(row for rows in shared.rows for row in rows) == list(range(7))
    assert sum(len(share.batch.token_ids) for share in shared.shares) == len(batch.token_ids)
    assert {share.token_count for share in shared.shares} == {len(batch.token_ids)}
    parts = [share.batch.columns["advantages_T"] for share in shared.shares]
    assert np.array_equal(shared.joined(parts, batch), batch.columns["advantages_T"])


def test_a_teacher_answers_under_its_name_and_an_unknown_one_is_refused(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    teacher_dir = save_tiny_model(tmp_path / "teacher", tied=True, seed=9)
    learner = LocalLearner(settings_of(model_dir, teachers={"wise": str(teacher_dir)}), mesh)
    alone = LocalLearner(settings_of(teacher_dir), mesh)
    batch = batch_of(random_rows(seed=6))
    assert np.array_equal(learner.logprobs(batch, of="wise"), alone.logprobs(batch, of=POLICY))
    with pytest.raises(RecipeError, match="must be those of policy, wise; asked for clever"):
        learner.logprobs(batch, of="clever")


def test_a_loss_that_misses_a_column_of_its_component_names_it(model_dir: Path, mesh: DeviceMesh) -> None:
    rows = [replace(row, columns={}) for row in random_rows(seed=1)]
    learner = LocalLearner(settings_of(model_dir), mesh)
    with pytest.raises(RecipeError, match="'rl' come with no columns, and without advantages_T"):
        learner.step(hybrid(rows, random_rows(seed=2)), BOTH)
