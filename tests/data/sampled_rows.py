"""Rows to sample from, and the samplers of a recipe over them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fakes import make_prompt, scored
from pydantic import TypeAdapter

from rlpost.data.samplers import SampledRows, sampler_of
from rlpost.recipe.sampler import AnySampler
from rlpost.records import Fault, RolloutGroup, Verdict

CONFIG: TypeAdapter[Any] = TypeAdapter(AnySampler)


def rows_of(**counts: int) -> SampledRows:
    return SampledRows([f"{name}/{row}" for name, count in counts.items() for row in range(count)])


def sampler(config: Mapping[str, Any], rows: SampledRows, *, seed: int = 0, rows_per_step: int = 4) -> Any:
    parsed = CONFIG.validate_json(json.dumps(dict(config)))
    return sampler_of(parsed, rows, seed=seed, rows_per_step=rows_per_step)


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """The state as a checkpoint gives it back."""
    return json.loads(json.dumps(state))


def group_of(row: int, *scores: float, verdicts: list[Verdict] | None = None) -> RolloutGroup:
    """Example rows of the data set `sums`, which has no others."""
    return RolloutGroup(
        prompt=make_prompt(row),
        index=row,
        episodes=(),
        verdicts=tuple(scored(*scores) if verdicts is None else verdicts),
    )


UNREADABLE = Verdict(fault=Fault.GOLD, reason="empty")
BROKEN = Verdict(fault=Fault.INFRA, reason="the judge is down")
