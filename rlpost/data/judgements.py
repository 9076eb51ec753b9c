"""Numbers that judged answers are trained towards: a label, or a quantile of rewards."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from rlpost.errors import DataError
from rlpost.records import Example


def label_target(example: Example) -> float:
    """Return 1 for a desirable answer and 0 for an undesirable one.

    Raises:
        DataError: the label is neither true nor false.
    """
    label = example.meta.get("label")
    if label in (0, 1):  # True and False included, and the numbers that CSV files have for them.
        return float(label)
    raise DataError(
        f"the label of an answer must be true (desirable) or false; row {example.id} has {label!r:.100}: change the "
        f"row, or name the column that holds it in data.{example.dataset}.columns.label"
    )


def quantile_target(example: Example) -> float:
    """Return the share of the reference rewards that the answer's reward reaches (QRPO, arXiv 2507.08068, equation 9).

    Raises:
        DataError: the reward is no number, or the reference rewards are no list of numbers.
    """
    reward, others = example.meta.get("reward"), example.meta.get("reference_rewards")
    listed = cast("list[Any]", others) if isinstance(others, list) else []
    if not _is_number(reward) or not listed or not all(map(_is_number, listed)):
        raise DataError(
            "an answer needs `reward`, a number, and `reference_rewards`, the rewards of the start's own answers to "
            f"the same prompt; row {example.id} has {reward!r:.60} and {others!r:.60}: change the row, or name the "
            f"columns in data.{example.dataset}.columns"
        )
    return float(np.mean(np.array(listed, np.float64) <= float(cast("float", reward))))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
