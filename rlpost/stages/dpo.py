"""Direct preference optimisation, on given pairs or on the model's own samples judged by the verifiers (TULU 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlpost.data.preference import PreferencePair
from rlpost.interfaces import POLICY, Learner
from rlpost.losses.preference import PreferenceLoss
from rlpost.recipe.stages import DpoStage
from rlpost.records import FloatArray
from rlpost.stages.context import StageContext
from rlpost.stages.pairs import pair_batch, pairs_of_stage
from rlpost.stages.supervised import train_supervised
from rlpost.train_records import TrainBatch, TrainRow

_REFERENCE_PAIRS_PER_CALL = 512


def run_dpo(context: StageContext, stage: DpoStage) -> None:
    """Make or read the pairs, remember what the start thinks of them, and train away from the rejected ones."""
    pairs = pairs_of_stage(context, stage)
    steps = stage.step_count(len(pairs))
    learner = context.build_learner(total_steps=steps, keep_reference=False)
    # Before any checkpoint is loaded the learner holds the stage's start, which is the reference model.
    pairs = with_reference(pairs, learner)

    def batch_of(indices: Sequence[int]) -> TrainBatch:
        return pair_batch([pairs[index] for index in indices])

    train_supervised(
        context,
        learner,
        stage,
        row_ids=[pair.chosen.source for pair in pairs],
        steps=steps,
        batch_of=batch_of,
        loss=PreferenceLoss(beta=stage.beta, length_normalised=stage.loss == "sigmoid_norm"),
    )


def with_reference(pairs: Sequence[PreferencePair], learner: Learner) -> list[PreferencePair]:
    """The pairs with the log-probabilities that the learner gives them now."""
    known: list[PreferencePair] = []
    for start in range(0, len(pairs), _REFERENCE_PAIRS_PER_CALL):
        part = pairs[start : start + _REFERENCE_PAIRS_PER_CALL]
        batch = pair_batch(part)
        values = np.split(learner.logprobs(batch, of=POLICY), np.cumsum(batch.row_lengths_B)[:-1])
        for place, pair in enumerate(part):
            known.append(
                PreferencePair(
                    chosen=_with_reference(pair.chosen, values[2 * place]),
                    rejected=_with_reference(pair.rejected, values[2 * place + 1]),
                )
            )
    return known


def _with_reference(row: TrainRow, logprobs_T: FloatArray) -> TrainRow:
    return replace(row, columns={**row.columns, "reference_logprobs_T": logprobs_T})
