"""Rubrics: criteria with points, read from a gold or a parameter, and the score for meeting some of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

# The TypedDict of `typing` is not accepted by pydantic before Python 3.12.
from typing_extensions import TypedDict

MOST_CRITERIA = 64
LONGEST_TEXT = 20_000
"""Longest criterion or reference, in characters."""


class CriterionSetting(TypedDict):
    """A criterion as a recipe writes it: `{criterion: Names the drug., points: 5}`."""

    criterion: str
    points: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """One criterion that a judge decides on. A criterion that describes a fault has negative points."""

    text: str
    points: float


DEFAULT_CRITERIA = (CriterionSetting(criterion="The answer says the same as the reference.", points=1.0),)
"""Used for a gold that is a reference answer, if the recipe names no criteria."""


def read_criteria(settings: object) -> tuple[Criterion, ...] | None:
    """Read the criteria in a list of `{criterion, points}`; None if it is not such a list, or no points can be earned.

    Other keys of an entry, such as the tags of HealthBench, are ignored.
    """
    if not isinstance(settings, list | tuple) or not 1 <= len(cast("Sequence[Any]", settings)) <= MOST_CRITERIA:
        return None
    criteria: list[Criterion] = []
    for setting in cast("Sequence[object]", settings):
        entry = cast("Mapping[str, object]", setting) if isinstance(setting, dict) else {}
        text, points = entry.get("criterion"), entry.get("points")
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT:
            return None
        if isinstance(points, bool) or not isinstance(points, int | float) or not math.isfinite(points) or not points:
            return None
        criteria.append(Criterion(text=text.strip(), points=float(points)))
    return tuple(criteria) if any(criterion.points > 0 for criterion in criteria) else None


def rubric_score(criteria: Sequence[Criterion], met: Sequence[bool]) -> tuple[float, dict[str, float]]:
    """Return points of the met criteria over all positive points, within [0, 1]; and the points earned and deducted.

    Source: HealthBench, arXiv 2505.08775, section 3.
    """
    possible = sum(criterion.points for criterion in criteria if criterion.points > 0)
    counted = [criterion.points for criterion, is_met in zip(criteria, met, strict=True) if is_met]
    earned = sum(points for points in counted if points > 0) / possible
    deducted = -sum(points for points in counted if points < 0) / possible
    return min(1.0, max(0.0, sum(counted) / possible)), {"earned": earned, "deducted": deducted}
