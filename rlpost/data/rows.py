"""Makes rows to train on of what was sampled; `tokenized` makes those of data sets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rlpost.records import FloatArray, Trajectory
from rlpost.train_records import NO_COLUMNS, TrainRow


def trajectory_row(
    trajectory: Trajectory,
    *,
    weight: float,
    columns: Mapping[str, FloatArray] = NO_COLUMNS,
    with_sampled_logprobs: bool = False,
    source: str = "",
) -> TrainRow:
    """Make a row of a sampled trajectory; every token that the policy chose has the same loss weight.

    Args:
        trajectory: The tokens, with marks for those that the policy chose.
        weight: Loss weight of each chosen token; all others get 0.
        columns: Columns of `train_records` with one value per chosen token; all other tokens get 0.
        with_sampled_logprobs: Whether the row gets the generator's log-probabilities as `behaviour_logprobs_T`.
        source: Origin of the row, for people.
    """
    (chosen,), length = trajectory.trained_T.nonzero(), len(trajectory.token_ids)
    weights_T = trajectory.trained_T * np.float32(weight)
    whole = {"behaviour_logprobs_T": trajectory.logprobs_T} if with_sampled_logprobs else dict[str, FloatArray]()
    for name, values_T in columns.items():
        whole[name] = np.zeros(length, np.float32)
        whole[name][chosen] = values_T
    return TrainRow(token_ids=trajectory.token_ids, weights_T=weights_T, columns=whole, source=source)
