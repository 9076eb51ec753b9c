"""Adds up the metrics that losses report, over micro-batches and ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch.distributed as dist

from rlpost.interfaces import LossSums


class ReducedMetrics(NamedTuple):
    """The sums of one optimizer step, the same on every rank."""

    totals: Mapping[str, float]
    """Component -> its summed loss."""
    metrics: dict[str, float]


class _RankSums(NamedTuple):
    totals: dict[str, float]
    means: dict[str, tuple[float, float]]
    maxima: dict[str, float]


class MetricSums:
    """Collects the sums of one step. They stay on the device until the end of the step, so that no micro-batch has to
    wait.

    With several components, the name of each metric begins with the component's name.
    """

    def __init__(self, *, several_components: bool) -> None:
        self._several = several_components
        self._parts: list[tuple[str, LossSums]] = []

    def add(self, component: str, sums: LossSums) -> None:
        """Add the sums of one component of one micro-batch."""
        kept = LossSums(total=sums.total.detach(), means=sums.means, maxima=sums.maxima)
        self._parts.append((component, kept))

    def reduce(self) -> ReducedMetrics:
        """Add up over all ranks. A collective."""
        mine = self._of_this_rank()
        ranks: list[_RankSums] = [mine] * dist.get_world_size()
        if len(ranks) > 1:
            dist.all_gather_object(ranks, mine)
        metrics: dict[str, float] = {}
        for name in sorted({name for rank in ranks for name in rank.means}):
            pairs = [rank.means[name] for rank in ranks if name in rank.means]
            count = sum(pair[1] for pair in pairs)
            metrics[name] = sum(pair[0] for pair in pairs) / count if count else 0.0
        for name in sorted({name for rank in ranks for name in rank.maxima}):
            metrics[name] = max(rank.maxima[name] for rank in ranks if name in rank.maxima)
        components = dict.fromkeys(name for rank in ranks for name in rank.totals)
        return ReducedMetrics({name: sum(rank.totals.get(name, 0.0) for rank in ranks) for name in components}, metrics)

    def _of_this_rank(self) -> _RankSums:
        sums = _RankSums({}, {}, {})
        for component, part in self._parts:
            prefix = f"{component}/" if self._several else ""
            sums.totals[component] = sums.totals.get(component, 0) + float(part.total)
            for name, (value, count) in part.means.items():
                value_before, count_before = sums.means.get(prefix + name, (0.0, 0.0))
                sums.means[prefix + name] = (value_before + float(value), count_before + float(count))
            for name, value in part.maxima.items():
                sums.maxima[prefix + name] = max(sums.maxima.get(prefix + name, -math.inf), float(value))
        return sums
