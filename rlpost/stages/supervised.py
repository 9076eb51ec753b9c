"""The loop that CPT, SFT and DPO share: rows of a data set, a loss, one optimizer step after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from rlpost.data.samplers import SampledRows, sampler_of
from rlpost.data.tokenized import SupervisedRows
from rlpost.interfaces import POLICY, Learner, LossFn
from rlpost.losses.cross_entropy import CrossEntropy
from rlpost.losses.normalisation import Normalisation, denominator, row_weight
from rlpost.recipe.stages import CrossEntropyStage, SupervisedStage
from rlpost.stages.context import StageContext
from rlpost.telemetry.account import step_account
from rlpost.train_records import StepReport, TrainBatch, TrainRow, one_component


def train_on_rows(context: StageContext, stage: CrossEntropyStage, prepared: SupervisedRows) -> None:
    """Cross-entropy over rows; `normalisation` says how tokens and rows count."""
    rows, most = prepared.rows, context.recipe.longest_row(stage.name)
    if prepared.dropped:
        context.console.say(f"{stage.name}: {prepared.dropped} rows longer than max_length {most} are left out")
    steps = stage.step_count(rows_in_epoch(stage, prepared.row_ids))

    def batch_of(indices: Sequence[int]) -> TrainBatch:
        return demonstration_batch([rows[index] for index in indices], normalisation=stage.normalisation)

    train_supervised(
        context,
        context.build_learner(total_steps=steps, keep_reference=False),
        stage,
        row_ids=prepared.row_ids,
        steps=steps,
        batch_of=batch_of,
        loss=CrossEntropy(),
    )


def rows_in_epoch(stage: SupervisedStage, row_ids: Sequence[str]) -> int:
    """Return the number of rows that the stage's sampler takes in an epoch."""
    by_dataset = SampledRows(row_ids).by_dataset()
    return stage.sampler.epoch_rows({name: len(indices) for name, indices in by_dataset.items()})


def demonstration_batch(rows: Sequence[TrainRow], *, normalisation: Normalisation) -> TrainBatch:
    """Make a batch whose loss is normalised over all its rows, however they are split over ranks."""
    counts = [int(np.count_nonzero(row.weights_T)) for row in rows]
    weighted = [
        replace(row, weights_T=row.weights_T * np.float32(row_weight(normalisation, count)))
        for row, count in zip(rows, counts, strict=True)
    ]
    total = denominator(
        normalisation, token_count=sum(counts), row_count=sum(count > 0 for count in counts), max_tokens=1
    )
    return TrainBatch.of(weighted, components=one_component("demonstration", total))


def train_supervised(
    context: StageContext,
    learner: Learner,
    stage: SupervisedStage,
    *,
    row_ids: Sequence[str],
    steps: int,
    batch_of: Callable[[Sequence[int]], TrainBatch],
    loss: LossFn,
) -> None:
    """Take `steps` optimizer steps, resuming where the last checkpoint ends, and export the model.

    `row_ids` name the rows, in the order of the indices that `batch_of` is called with.
    """
    sampler = sampler_of(
        stage.sampler, SampledRows(row_ids), seed=context.recipe.seed, rows_per_step=stage.rows_per_step
    )
    checkpoints = context.checkpoints(total_steps=steps)
    saved = checkpoints.resume(learner)
    start = 0 if saved is None else saved.step
    if saved is not None:
        sampler.load(saved.state["sampler"])
    tracker = context.tracker(first_step=start)
    numbers = {"language_model": partial(learner.logprobs, of=POLICY), "score": learner.values}
    finite = context.finite_steps(learner, numbers[context.head])
    row_count = rows_in_epoch(stage, row_ids)
    started = time.perf_counter()
    with checkpoints, context.console.progress(context.stage.name, total=steps, done=start) as progress:
        for step in range(start, steps):
            rows = sampler.next(stage.rows_of_step(step, row_count=row_count))
            report = finite.step(batch_of(rows), loss, planned_step=step)
            sampler.observe(())
            wall_s, started = time.perf_counter() - started, time.perf_counter()
            metrics = _metrics(report, wall_s=wall_s)
            tracker.log(step, metrics)
            # After the record, so that no step that a checkpoint counts is missing in metrics.jsonl.
            checkpoints.save_if_due(learner, step=step + 1, state={"sampler": sampler.state()})
            progress.step(step + 1, metrics)
    tracker.close()
    finite.end()
    learner.export(context.output_dir)


def _metrics(report: StepReport | None, *, wall_s: float) -> dict[str, float]:
    if report is None:
        return {"skipped_steps": 1.0, **step_account(wall_s)}
    return {
        "loss": report.loss,
        "grad_norm": report.grad_norm,
        "learning_rate": report.learning_rate,
        "tokens": report.tokens,
        "tokens_per_s": report.tokens / report.seconds,
        **report.metrics,
        **step_account(wall_s, train=report.seconds),
    }
