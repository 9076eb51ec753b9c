"""KTO and QRPO: learning from answers that were judged one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rlpost.data.tokenized import JudgedRows
from rlpost.errors import DataError
from rlpost.interfaces import POLICY, Learner, LossFn
from rlpost.losses.unpaired import KtoLoss, QrpoLoss
from rlpost.recipe.stages import KtoStage, QrpoStage, SupervisedStage
from rlpost.stages.context import StageContext
from rlpost.stages.reference import ReferenceLogprobs, reference_logprobs
from rlpost.stages.supervised import rows_in_epoch, train_supervised
from rlpost.train_records import TrainBatch, TrainRow, one_component


def run_kto(context: StageContext, stage: KtoStage) -> None:
    """Train towards desirable answers and away from undesirable ones.

    Raises:
        DataError: all answers have one label.
    """
    found = _rows(context, stage, context.data.judged(stage.data, "labelled", stage=stage.name))
    desirable = int(found.targets.sum())
    if desirable in (0, len(found.targets)):
        kind = "desirable" if desirable else "undesirable"
        raise DataError(
            f"stage {stage.name} needs answers of both labels; all {len(found.targets)} are {kind}: add others, or use "
            "sft, which learns from desirable answers alone"
        )
    context.console.say(f"{stage.name}: {desirable:,} desirable and {len(found.targets) - desirable:,} undesirable")
    learner = _learner(context, stage, found)
    mismatched = _reference(context, learner, found.mismatched, name="mismatched")

    def baseline(indices: Sequence[int]) -> Mapping[str, float]:
        rows = [mismatched.with_column(found.mismatched[index], index) for index in indices]
        return {"baseline_T": mismatch_divergence(learner, rows)}

    loss = KtoLoss(
        beta=stage.beta, desirable_weight=stage.desirable_weight, undesirable_weight=stage.undesirable_weight
    )
    _train(context, stage, learner, found, loss=loss, shared_columns=baseline)


def run_qrpo(context: StageContext, stage: QrpoStage) -> None:
    """Fit the policy to the optimum of its rewards' quantiles."""
    found = _rows(context, stage, context.data.judged(stage.data, "rewarded", stage=stage.name))
    learner = _learner(context, stage, found)
    loss = QrpoLoss(beta=stage.beta, length_normalised=stage.length_normalised)
    _train(context, stage, learner, found, loss=loss, shared_columns=lambda _: {})


def mismatch_divergence(learner: Learner, rows: Sequence[TrainRow]) -> float:
    """Return z0 of KTO: the mean over rows of the summed log-ratio of an answer to another prompt, at least 0
    (arXiv 2402.01306, section 4.1). It estimates how far the policy is from its reference.

    Args:
        learner: Gives the policy's log-probabilities.
        rows: Prompts with answers to other prompts, with the column `reference_logprobs_T`.
    """
    batch = TrainBatch.of(rows, components=one_component("mismatched", float(len(rows))))
    log_ratios_T = (learner.logprobs(batch, of=POLICY) - batch.columns["reference_logprobs_T"]) * batch.weights_T
    return max(0.0, float(log_ratios_T.sum(dtype=np.float64)) / len(rows))


def _rows(context: StageContext, stage: SupervisedStage, found: JudgedRows) -> JudgedRows:
    if found.dropped:
        most = context.recipe.longest_row(stage.name)
        context.console.say(f"{stage.name}: {found.dropped} rows longer than max_length {most} are left out")
    return found


def _learner(context: StageContext, stage: SupervisedStage, found: JudgedRows) -> Learner:
    steps = stage.step_count(rows_in_epoch(stage, found.row_ids))
    return context.build_learner(total_steps=steps, keep_reference=False)


def _reference(context: StageContext, learner: Learner, rows: Sequence[TrainRow], *, name: str) -> ReferenceLogprobs:
    def batch_of(numbers: range) -> TrainBatch:
        return TrainBatch.of([rows[number] for number in numbers], components=one_component(name, 1.0))

    return reference_logprobs(
        context.directory, learner, name=name, count=len(rows), batch_of=batch_of, console=context.console
    )


def _train(
    context: StageContext,
    stage: SupervisedStage,
    learner: Learner,
    found: JudgedRows,
    *,
    loss: LossFn,
    shared_columns: Callable[[Sequence[int]], Mapping[str, float]],
) -> None:
    """Train on the rows; `shared_columns` gives the columns with one value for a whole step, from its row numbers."""
    # Before any checkpoint is loaded the learner holds the stage's start, which is the reference model.
    reference = _reference(context, learner, found.rows, name="answers")

    def batch_of(indices: Sequence[int]) -> TrainBatch:
        shared = shared_columns(indices)
        rows = [
            _with_columns(
                reference.with_column(found.rows[index], index), targets_T=float(found.targets[index]), **shared
            )
            for index in indices
        ]
        return TrainBatch.of(rows, components=one_component("answers", float(len(rows))))

    train_supervised(
        context,
        learner,
        stage,
        row_ids=found.row_ids,
        steps=stage.step_count(rows_in_epoch(stage, found.row_ids)),
        batch_of=batch_of,
        loss=loss,
    )


def _with_columns(row: TrainRow, **values: float) -> TrainRow:
    columns = {name: np.full(len(row.token_ids), value, np.float32) for name, value in values.items()}
    return replace(row, columns={**row.columns, **columns})
