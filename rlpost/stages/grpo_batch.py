"""Scored groups -> train batches: scores become advantages, advantages become credit for every response token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rlpost.advantage import advantage_of
from rlpost.data.rows import rollout_row
from rlpost.interfaces import AdvantageFn
from rlpost.losses.normalisation import denominator, row_weight
from rlpost.recipe.stages import GrpoStage
from rlpost.records import Fault, RolloutGroup, TrainBatch, TrainRow


class CreditedGroup(NamedTuple):
    """A group with the advantage of each rollout; None for a rollout that an infra fault masks."""

    group: RolloutGroup
    advantages_G: list[float | None]


def credit(group: RolloutGroup, stage: GrpoStage) -> CreditedGroup:
    """Advantages within the group. Rollouts that an infra fault left unjudged take no part in the baseline."""
    valid = [index for index, verdict in enumerate(group.verdicts) if verdict.fault is not Fault.INFRA]
    advantage: AdvantageFn = advantage_of(stage.advantage.scheme)
    scores = np.array([group.verdicts[index].score for index in valid], np.float64) * stage.reward_scale
    advantages_G: list[float | None] = [None] * len(group.rollouts)
    if valid:
        for index, value in zip(valid, advantage(scores), strict=True):
            advantages_G[index] = float(value)
    return CreditedGroup(group, advantages_G)


def pack(groups: Sequence[RolloutGroup], stage: GrpoStage) -> list[TrainBatch]:
    """One batch a mini-batch, in the order of the groups; a mini-batch without any signal is left out."""
    credited = [credit(group, stage) for group in groups]
    size = len(credited) // stage.minibatches
    parts = [credited[start : start + size] for start in range(0, size * stage.minibatches, size)]
    return [batch for part in parts if (batch := _minibatch(part, stage)) is not None]


def _minibatch(credited: Sequence[CreditedGroup], stage: GrpoStage) -> TrainBatch | None:
    rows: list[TrainRow] = []
    token_count = row_count = 0
    for group, advantages_G in credited:
        for rollout, advantage in zip(group.rollouts, advantages_G, strict=True):
            if advantage is None:
                continue
            token_count += len(rollout.token_ids)
            row_count += 1
            # Without credit and without a reference there is no gradient: the row counts, but is not computed.
            if advantage != 0 or stage.loss.kl_coefficient > 0:
                weight = row_weight(stage.loss.normalisation, len(rollout.token_ids))
                rows.append(rollout_row(group.prompt, rollout, advantage=advantage, row_weight=weight))
    if not rows:
        return None
    return TrainBatch.of(
        rows,
        denominator=denominator(
            stage.loss.normalisation,
            token_count=token_count,
            row_count=row_count,
            max_tokens=stage.sampling.max_tokens,
        ),
        temperature=stage.sampling.temperature,
    )
