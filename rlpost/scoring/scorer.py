"""The `Scorer` of a run: each sample to its verifier, each verdict weighted, cached, and stamped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

from rlpost.recipe.sections import RewardsConfig
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.cache import VerdictCache, cache_key
from rlpost.scoring.guarded import judge_guarded
from rlpost.scoring.routes import Route, RouteTable
from rlpost.scoring.workers import WorkerPool

CACHED_VERDICTS = 16_384


class RoutedScorer:
    """Implements `interfaces.Scorer` over the routes of a recipe. Safe to call from several threads.

    Args:
        rewards: Which verifier judges which sample.
        workers: Processes of each verifier that runs in processes; they start when first needed.

    Raises:
        RewardError: a verifier does not exist or its parameters do not fit.
    """

    def __init__(self, rewards: RewardsConfig, *, workers: int) -> None:
        self._table = RouteTable(rewards)
        self._cache = VerdictCache(entries=CACHED_VERDICTS)
        self._pools: dict[str, WorkerPool] = {}
        for route in self._table.routes.values():
            verifier = route.verifier
            if verifier.spec.isolation == "process" and verifier.reference not in self._pools:
                self._pools[verifier.reference] = WorkerPool(verifier, workers=workers)

    def __enter__(self) -> RoutedScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """One verdict a sample, in the same order; scores are multiplied by their route's weight.

        Raises:
            RewardError: a sample has no route, or a verifier broke its contract.
        """
        routes = [self._table.route_of(sample) for sample in samples]
        keys = [
            cache_key(route.verifier, sample, params=route.params)
            for route, sample in zip(routes, samples, strict=True)
        ]
        known = {key: verdict for key in keys if (verdict := self._cache.get(key)) is not None}
        for route in self._table.routes.values():
            wanted = {
                key: sample
                for key, sample, its_route in zip(keys, samples, routes, strict=True)
                if its_route is route and key not in known
            }
            for key, verdict in zip(wanted, self._judge(route, list(wanted.values())), strict=True):
                known[key] = verdict
                self._cache.put(key, verdict)
        return [_weighted(known[key], route.weight) for route, key in zip(routes, keys, strict=True)]

    def close(self) -> None:
        """End all worker processes; call it when no `score` is running."""
        for pool in self._pools.values():
            pool.close()

    def _judge(self, route: Route, samples: list[Sample]) -> list[Verdict]:
        """Verdicts before weighting; an infra fault is tried once more."""
        verdicts = self._judge_once(route, samples)
        again = [index for index, verdict in enumerate(verdicts) if verdict.fault is Fault.INFRA]
        retried = self._judge_once(route, [samples[index] for index in again])
        for index, verdict in zip(again, retried, strict=True):
            verdicts[index] = verdict
        return verdicts

    def _judge_once(self, route: Route, samples: list[Sample]) -> list[Verdict]:
        if not samples:
            return []
        pool = self._pools.get(route.verifier.reference)
        if pool is None:
            return [judge_guarded(route.verifier, sample, params=route.params) for sample in samples]
        return pool.judge(samples, params=route.params, timeout_s=route.timeout_s)


def _weighted(verdict: Verdict, weight: float) -> Verdict:
    return verdict if verdict.score is None else replace(verdict, score=verdict.score * weight)
