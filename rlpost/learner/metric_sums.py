"""Adding up what losses report, over micro-batches and ranks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.distributed as dist

from rlpost.interfaces import LossSums


class ReducedMetrics(NamedTuple):
    """Of one optimizer step, the same on every rank."""

    total: float
    """The summed loss."""
    metrics: dict[str, float]


class _RankSums(NamedTuple):
    total: float
    means: dict[str, tuple[float, float]]
    maxima: dict[str, float]


class MetricSums:
    """Collects the sums of one step; they stay on the device until the step's end, so that no micro-batch waits."""

    def __init__(self) -> None:
        self._parts: list[LossSums] = []

    def add(self, sums: LossSums) -> None:
        """Of one micro-batch."""
        self._parts.append(LossSums(total=sums.total.detach(), means=sums.means, maxima=sums.maxima))

    def reduce(self) -> ReducedMetrics:
        """Over all ranks. A collective."""
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
        return ReducedMetrics(sum(rank.total for rank in ranks), metrics)

    def _of_this_rank(self) -> _RankSums:
        sums = _RankSums(sum(float(part.total) for part in self._parts), {}, {})
        for part in self._parts:
            for name, (value, count) in part.means.items():
                value_before, count_before = sums.means.get(name, (0.0, 0.0))
                sums.means[name] = (value_before + float(value), count_before + float(count))
            for name, value in part.maxima.items():
                sums.maxima[name] = max(sums.maxima.get(name, -math.inf), float(value))
        return sums
