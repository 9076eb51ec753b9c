"""Each preference objective moves a real model the way it should: chosen and desirable answers up, the others down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learner_inputs import random_rows, settings_of
from tiny_models import save_tiny_model
from torch.distributed.device_mesh import DeviceMesh

from rlpost.interfaces import POLICY, LossFn
from rlpost.learner.local import LocalLearner
from rlpost.losses.preference import PreferenceLoss
from rlpost.losses.unpaired import KtoLoss, QrpoLoss
from rlpost.recipe.preference_losses import PAIR_LOSSES, PairLoss
from rlpost.records import FloatArray
from rlpost.train_records import TrainBatch, one_component

STEPS = 12
LABELS = (1.0, 0.0) * 3


def batch_for(learner: LocalLearner, *, rows_per_unit: int) -> TrainBatch:
    """Six answers, every other one to be preferred, with the log-probabilities of the start."""
    rows = random_rows(seed=3, lengths=(17, 15, 9, 12, 23, 20))
    plain = [replace(row, columns={}) for row in rows]
    denominator = len(rows) / rows_per_unit
    batch = TrainBatch.of(plain, components=one_component("answers", denominator), rows_per_unit=rows_per_unit)
    of_rows = np.repeat(np.array(LABELS, np.float32), batch.row_lengths_B)
    columns = {
        "reference_logprobs_T": learner.logprobs(batch, of=POLICY),
        "targets_T": of_rows,
        "baseline_T": np.zeros_like(of_rows),
    }
    return replace(batch, columns=columns)


def mean_log_ratios(learner: LocalLearner, batch: TrainBatch) -> FloatArray:
    """Return the mean log-ratio of each answer to the start; shape [B]."""
    ratios_T = learner.logprobs(batch, of=POLICY) - batch.columns["reference_logprobs_T"]
    ends = np.cumsum(batch.row_lengths_B)[:-1]
    return np.array([part.sum() / np.count_nonzero(part) for part in np.split(ratios_T, ends)], np.float32)


def trained(tmp_path: Path, mesh: DeviceMesh, loss: LossFn, *, rows_per_unit: int) -> tuple[FloatArray, list[float]]:
    learner = LocalLearner(settings_of(save_tiny_model(tmp_path / "model", tied=True, seed=0)), mesh)
    batch = batch_for(learner, rows_per_unit=rows_per_unit)
    losses = [learner.step(batch, loss).loss for _ in range(STEPS)]
    return mean_log_ratios(learner, batch), losses


@pytest.mark.parametrize("kind", list(PAIR_LOSSES))
def test_chosen_answers_gain_on_rejected_ones(tmp_path: Path, mesh: DeviceMesh, kind: PairLoss) -> None:
    facts = PAIR_LOSSES[kind]
    loss = PreferenceLoss(
        kind=kind, beta=facts.beta, margin=1.0 if facts.takes_margin else 0.0, nll_weight=facts.nll_weight
    )
    ratios_B, losses = trained(tmp_path, mesh, loss, rows_per_unit=2)
    assert losses[-1] < losses[0]
    assert (ratios_B[0::2] > ratios_B[1::2] + 0.02).all()


def test_kto_raises_desirable_and_lowers_undesirable_answers(tmp_path: Path, mesh: DeviceMesh) -> None:
    loss = KtoLoss(beta=0.5, desirable_weight=1.0, undesirable_weight=1.0)
    ratios_B, losses = trained(tmp_path, mesh, loss, rows_per_unit=1)
    assert losses[0] == pytest.approx(0.5, abs=1e-5), "the policy begins at its reference"
    assert losses[-1] < losses[0]
    assert (ratios_B[0::2] > 0.02).all() and (ratios_B[1::2] < -0.02).all()


def test_qrpo_orders_answers_by_their_quantiles(tmp_path: Path, mesh: DeviceMesh) -> None:
    ratios_B, losses = trained(tmp_path, mesh, QrpoLoss(beta=1.0, length_normalised=True), rows_per_unit=1)
    assert losses[-1] < losses[0]
    assert ratios_B[0::2].min() > ratios_B[1::2].max()
