"""Scored groups -> train batches: what the learner must look up, credit for every token, mini-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage import advantage_of
from rlpost.advantage.gae import gae, whitened
from rlpost.advantage.kl_penalty import kl_penalty
from rlpost.data.rows import response_row
from rlpost.interfaces import GroupScores, Learner
from rlpost.losses.normalisation import denominator, row_weight
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import FloatArray, Prompt, Rollout, RolloutGroup, TrainBatch, TrainRow
from rlpost.stages.rl.scores import JudgedGroup, judged, scores_of


class AgedBatch(NamedTuple):
    """A batch, and how many versions older than the learner the weights are that sampled each of its tokens."""

    batch: TrainBatch
    ages_T: FloatArray


@dataclass(slots=True)
class Credited:
    """One rollout on its way into a batch; `columns` are those of `records.TrainRow`, for its own tokens only."""

    prompt: Prompt
    rollout: Rollout
    columns: dict[str, FloatArray] = field(default_factory=dict[str, FloatArray])


def train_batches(
    groups: Sequence[RolloutGroup], learner: Learner, stage: GrpoStage | PpoStage, *, version: int
) -> list[TrainBatch]:
    """One batch an optimizer step: `epochs` passes over `minibatches` parts; a part without any signal is left out.

    `version` is that of the learner's weights, which must not change before this returns.
    """
    taking_part = [judged(group) for group in groups]
    rows_PG = [[Credited(group.group.prompt, rollout) for rollout in group.rollouts] for group in taking_part]
    everyone = [row for rows in rows_PG for row in rows]
    if not everyone:
        return []
    _look_up(everyone, learner, stage)
    _give_credit(taking_part, rows_PG, stage)
    size = len(rows_PG) // stage.minibatches
    parts = [
        _minibatch([row for rows in rows_PG[start : start + size] for row in rows], stage, version)
        for start in range(0, size * stage.minibatches, size)
    ]
    total = optimizer_steps(stage)
    return [
        replace(part.batch, proximal_mix_T=proximal_mix(part.ages_T, progress=number / total))
        for number, part in enumerate(parts * stage.epochs)
        if part is not None
    ]


def proximal_mix(ages_T: FloatArray, *, progress: float) -> FloatArray:
    """Share of the current policy in the log-linear estimate of the proximal one; shape [T].

    Versions are points on a line (AReaL, "proximal log-probability approximation"): a token of age a was sampled a
    updates before the proximal policy, and the current one is `progress` of an update after it, so the proximal policy
    lies at a / (a + progress) of the way. Before the first update (progress 0) the current policy is the proximal one.
    """
    if progress == 0:
        return np.ones_like(ages_T)
    mix_T: FloatArray = (ages_T / (ages_T + progress)).astype(np.float32)
    return mix_T


def optimizer_steps(stage: GrpoStage | PpoStage) -> int:
    """Of one batch of rollouts."""
    return stage.minibatches * stage.epochs


def _look_up(rows: Sequence[Credited], learner: Learner, stage: GrpoStage | PpoStage) -> None:
    """Fill in what only a forward pass knows; a pass that the loss does not need is not made."""
    wants_proximal = stage.proximal == "recompute" and optimizer_steps(stage) > 1
    if not (stage.kl.coefficient > 0 or wants_proximal or isinstance(stage, PpoStage)):
        return
    whole = TrainBatch.of(
        [response_row(row.prompt, row.rollout, weight=1.0, columns={}) for row in rows],
        denominator=1.0,
        temperature=stage.sampling.temperature,
    )
    if stage.kl.coefficient > 0:
        _fill(rows, "reference_logprobs_T", learner.logprobs(whole, reference=True), whole)
    if wants_proximal:
        _fill(rows, "proximal_logprobs_T", learner.logprobs(whole, reference=False), whole)
    if isinstance(stage, PpoStage):
        _fill(rows, "old_values_T", learner.values(whole), whole)


def _fill(rows: Sequence[Credited], name: str, values_T: FloatArray, batch: TrainBatch) -> None:
    for row, values in zip(rows, np.split(values_T, np.cumsum(batch.row_lengths_B)[:-1]), strict=True):
        row.columns[name] = values[len(row.prompt.token_ids) :]


def _give_credit(
    groups: Sequence[JudgedGroup], rows_PG: Sequence[Sequence[Credited]], stage: GrpoStage | PpoStage
) -> None:
    scores_PG = scores_of(groups, stage)
    if isinstance(stage, GrpoStage):
        scored = [
            GroupScores(scores_G=scores_G, penalties_GT=[_penalty(row, stage) for row in rows])
            for scores_G, rows in zip(scores_PG, rows_PG, strict=True)
        ]
        for rows, advantages_GT in zip(rows_PG, advantage_of(stage.advantage)(scored), strict=True):
            for row, advantages_T in zip(rows, advantages_GT, strict=True):
                row.columns["advantages_T"] = advantages_T.astype(np.float32)
        return
    advantages: list[NDArray[np.float64]] = []
    for scores_G, rows in zip(scores_PG, rows_PG, strict=True):
        for score, row in zip(scores_G, rows, strict=True):
            rewards_T = -_penalty(row, stage)
            rewards_T[-1] += score
            estimate = gae(
                rewards_T,
                row.columns["old_values_T"].astype(np.float64),
                discount=stage.gae.discount,
                trace_decay=stage.gae.trace_decay,
            )
            row.columns["returns_T"] = estimate.returns_T.astype(np.float32)
            advantages.append(estimate.advantages_T)
    if stage.gae.whiten:
        advantages = whitened(advantages)
    everyone = [row for rows in rows_PG for row in rows]
    for row, advantages_T in zip(everyone, advantages, strict=True):
        row.columns["advantages_T"] = advantages_T.astype(np.float32)


def _penalty(row: Credited, stage: GrpoStage | PpoStage) -> NDArray[np.float64]:
    """What leaving the reference takes off the reward of each token: that of the policy that sampled it."""
    if stage.kl.coefficient == 0 or stage.kl.place == "loss":
        return np.zeros(len(row.rollout.token_ids), np.float64)
    reference_T = row.columns["reference_logprobs_T"].astype(np.float64)
    sampled_T = row.rollout.logprobs_T.astype(np.float64)
    return stage.kl.coefficient * kl_penalty(stage.kl.estimator, sampled_T, reference_logprobs_T=reference_T)


def _minibatch(rows: Sequence[Credited], stage: GrpoStage | PpoStage, version: int) -> AgedBatch | None:
    counted = [row for row in rows if not (stage.mask_truncated and row.rollout.finish == "length")]
    # Without credit there is no gradient: such a row counts in the denominator, but is not computed.
    computed = [row for row in counted if _has_gradient(row, stage)]
    if not computed:
        return None
    normalisation = stage.loss.normalisation
    train_rows: list[TrainRow] = []
    for row in computed:
        row.columns["behaviour_logprobs_T"] = row.rollout.logprobs_T
        weight = row_weight(normalisation, len(row.rollout.token_ids))
        train_rows.append(response_row(row.prompt, row.rollout, weight=weight, columns=row.columns))
    batch = TrainBatch.of(
        train_rows,
        denominator=denominator(
            normalisation,
            token_count=sum(len(row.rollout.token_ids) for row in counted),
            row_count=len(counted),
            max_tokens=stage.sampling.max_tokens,
        ),
        temperature=stage.sampling.temperature,
    )
    ages_T = np.zeros(len(batch.token_ids), np.float32)
    for row, end in zip(computed, np.cumsum(batch.row_lengths_B), strict=True):
        ages_T[end - len(row.rollout.token_ids) : end] = token_ages(row.rollout, version)
    return AgedBatch(batch, ages_T)


def _has_gradient(row: Credited, stage: GrpoStage | PpoStage) -> bool:
    always = isinstance(stage, PpoStage) or (stage.kl.coefficient > 0 and stage.kl.place == "loss")
    return always or bool(row.columns["advantages_T"].any())


def token_ages(rollout: Rollout, version: int) -> FloatArray:
    """Versions between the weights that sampled each token and `version`; shape [T]."""
    ages_T = np.empty(len(rollout.token_ids), np.float32)
    for span in rollout.version_spans:
        ages_T[span.start : span.stop] = version - span.version
    return ages_T
