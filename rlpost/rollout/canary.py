"""The parity canary: generator and learner must give the same log-probabilities to the same tokens.

It checks the first groups sampled after a weight sync, before any of them is trained on. A stale or wrongly loaded
weight, a missing temperature or a broken mask stops the run instead of corrupting the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rlpost.errors import ParityError
from rlpost.interfaces import POLICY, Learner
from rlpost.records import FloatArray, RolloutGroup
from rlpost.train_records import TrainBatch, TrainRow, one_component

_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Several times the largest `relative` of healthy runs, 1.3e-4 and 0.03 (`benchmarks/parity_gap.py`)."""
_FLOOR = 1e-3
"""Added to the size of every token's log-probability, because a model that is certain of a whole response leaves
nothing to compare."""
_OTHER_FORMAT = 0.1
"""Three times the largest difference between one side in bfloat16 and one in float32; other weights usually differ
more."""


class ParityGap(NamedTuple):
    """Absolute difference between the log-probabilities of generator and learner, over the checked tokens."""

    relative: float
    """Sum of the differences over a response's tokens, as a share of their summed |log-probability|; the upper median
    of these shares.

    A single token is not conclusive in bfloat16: where a model's decision is close, one or two in 100,000 tokens differ
    by more than 0.5 in healthy runs. Errors in weights, temperature or masks affect most responses.
    """
    maximum: float
    mean: float
    token_count: int


def parity_rows(groups: Sequence[RolloutGroup], *, at_most: int) -> list[TrainRow]:
    """Make rows of the first episodes of different groups, with the generator's numbers; later turns are included."""
    return [
        TrainRow(
            token_ids=trajectory.token_ids,
            weights_T=trajectory.trained_T.astype(np.float32),
            columns={"behaviour_logprobs_T": trajectory.logprobs_T},
        )
        for group in groups[:at_most]
        for trajectory in group.episodes[0].trajectories
    ]


def check_parity(
    groups: Sequence[RolloutGroup],
    learner: Learner,
    *,
    temperature: float,
    tolerance: float | None,
    dtype: str,
    samples: int,
) -> ParityGap:
    """Compare log-probabilities on `samples` episodes, all sampled with the learner's current weights.

    Raises:
        ParityError: `relative` exceeds the tolerance, or a number is not finite; the message names the likely cause.
    """
    rows = parity_rows(groups, at_most=samples)
    gap = _gap(_batch(rows, temperature), learner)
    bound = _TOLERANCE[dtype] if tolerance is None else tolerance
    if not _agrees(gap, bound):
        raise ParityError(
            f"generator and learner must agree on log-probabilities within {bound:.3g} of their size; found "
            f"{gap.relative:.3g} in the median of {len(rows)} responses (largest difference {gap.maximum:.3g}, mean "
            f"{gap.mean:.3g}, over {gap.token_count} tokens). Likely cause: "
            f"{_cause(rows, learner, temperature=temperature, gap=gap, bound=bound)}"
        )
    return gap


def _agrees(gap: ParityGap, bound: float) -> bool:
    return gap.relative <= bound and math.isfinite(gap.maximum)


def _batch(rows: Sequence[TrainRow], temperature: float) -> TrainBatch:
    return TrainBatch.of(rows, components=one_component("parity", 1.0), temperature=temperature)


def _gap(batch: TrainBatch, learner: Learner) -> ParityGap:
    scored_T = batch.weights_T != 0
    learners_T, generators_T = learner.logprobs(batch, of=POLICY), batch.columns["behaviour_logprobs_T"]
    difference_T: FloatArray = np.where(scored_T, np.abs(learners_T - generators_T), 0.0)
    size_T = np.where(scored_T, np.maximum(np.abs(learners_T), np.abs(generators_T)) + _FLOOR, 0.0)
    starts_B = np.cumsum(batch.row_lengths_B) - batch.row_lengths_B
    with np.errstate(invalid="ignore"):  # `_agrees` rejects numbers that are not finite.
        shares_B = np.add.reduceat(difference_T, starts_B) / np.maximum(np.add.reduceat(size_T, starts_B), _FLOOR)
    return ParityGap(
        relative=float(np.sort(shares_B)[len(shares_B) // 2]),
        maximum=float(difference_T.max()),
        mean=float(difference_T.sum() / scored_T.sum()),
        token_count=int(scored_T.sum()),
    )


def _cause(rows: list[TrainRow], learner: Learner, *, temperature: float, gap: ParityGap, bound: float) -> str:
    """Repeat the comparison with one change at a time; the change that closes the gap shows the cause."""
    if temperature != 1.0 and _agrees(_gap(_batch(rows, 1.0), learner), bound):
        return (
            "the generator reports log-probabilities before temperature: its logprobs_mode must be processed_logprobs"
        )
    if all(_agrees(_gap(_batch([row], temperature), learner), bound) for row in rows):
        return "packed rows see each other in the learner: its attention ignores where rows end for this architecture"
    if _agrees(gap, _OTHER_FORMAT):
        return (
            "different number formats in generator and learner (compare model.dtype with learner.compute_dtype), or a "
            "parity_tolerance too small for this model size"
        )
    return (
        "the generator does not sample with the published weights: stale or wrongly named tensors, for example an "
        "output head that is tied in one and not in the other; if all that is as it should be, raise parity_tolerance"
    )
