"""Preference optimisation on given pairs, or on the model's own samples judged by the verifiers (TULU 3): DPO and its
relatives.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlpost.data.preference import PreferencePair
from rlpost.interfaces import Learner
from rlpost.losses.preference import PreferenceLoss
from rlpost.recipe.stages import DpoStage
from rlpost.stages.context import StageContext
from rlpost.stages.pairs import pair_batch, pairs_of_stage
from rlpost.stages.reference import ReferenceLogprobs, reference_logprobs
from rlpost.stages.supervised import rows_in_epoch, train_supervised
from rlpost.train_records import TrainBatch


def run_dpo(context: StageContext, stage: DpoStage) -> None:
    """Make or read the pairs, remember what the start thinks of them, and train away from the rejected ones."""
    found = pairs_of_stage(context, stage)
    pairs = found.pairs
    steps = stage.step_count(rows_in_epoch(stage, found.row_ids))
    learner = context.build_learner(total_steps=steps, keep_reference=False)
    # Before any checkpoint is loaded the learner holds the stage's start, which is the reference model.
    reference = reference_of_pairs(context, learner, pairs) if stage.facts.has_reference else None

    def batch_of(indices: Sequence[int]) -> TrainBatch:
        chosen = [pairs[index] for index in indices]
        if reference is not None:
            chosen = [with_reference(pair, reference, index) for pair, index in zip(chosen, indices, strict=True)]
        return pair_batch(chosen)

    train_supervised(
        context,
        learner,
        stage,
        row_ids=found.row_ids,
        steps=steps,
        batch_of=batch_of,
        loss=PreferenceLoss(kind=stage.loss, **stage.settings_of_loss),
    )


def reference_of_pairs(context: StageContext, learner: Learner, pairs: Sequence[PreferencePair]) -> ReferenceLogprobs:
    """Return the start's log-probabilities of both sides of all pairs: row 2i is the chosen side of pair i."""

    def batch_of(numbers: range) -> TrainBatch:
        return pair_batch([pairs[number // 2] for number in numbers[::2]])

    return reference_logprobs(
        context.directory, learner, name="pairs", count=2 * len(pairs), batch_of=batch_of, console=context.console
    )


def with_reference(pair: PreferencePair, reference: ReferenceLogprobs, index: int) -> PreferencePair:
    """Return pair `index` with the start's log-probabilities."""
    return PreferencePair(
        chosen=reference.with_column(pair.chosen, 2 * index),
        rejected=reference.with_column(pair.rejected, 2 * index + 1),
    )
