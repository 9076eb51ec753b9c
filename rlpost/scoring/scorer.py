"""The scorer of a run: it routes samples, caches the verdicts of each verifier, and composes one verdict per sample."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rlpost.recipe.rewards import RewardsConfig
from rlpost.records import Sample, Verdict
from rlpost.sandbox.self_test import require_containment
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.cache import VerdictCache, cache_keys
from rlpost.scoring.calls import calls_of
from rlpost.scoring.composition import Leaf, Part, judge_by
from rlpost.scoring.executors import Executors
from rlpost.scoring.remote import PATIENCE, Patience
from rlpost.scoring.routes import RouteTable

CACHED_VERDICTS = 16_384


class RoutedScorer:
    """Implements `interfaces.Scorer` over the routes of a recipe. Thread-safe.

    Args:
        rewards: The section that says which verifiers judge which sample.
        workers: Number of processes for each verifier that runs in processes; they start when first needed.
        patience: How often and how long a failing service is tried.

    Raises:
        RewardError: a verifier does not exist or its parameters do not fit.
        SandboxError: a verifier runs model-written programs, and this machine cannot contain them.
    """

    def __init__(self, rewards: RewardsConfig, *, workers: int, patience: Patience = PATIENCE) -> None:
        self._table = RouteTable(rewards)
        self._cache = VerdictCache(entries=CACHED_VERDICTS)
        verifiers = [leaf.verifier for route in self._table.routes.values() for leaf in route.leaves]
        if any(verifier.spec.isolation == "sandbox" for verifier in verifiers):
            require_containment()
        self._executors = Executors(verifiers, workers=workers, patience=patience)

    def __enter__(self) -> RoutedScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def by_group(self, sample: Sample) -> bool:
        """Whether the sample's verdict depends on the other samples of its group.

        Raises:
            RewardError: the sample has no route.
        """
        return any(leaf.verifier.spec.per == "group" for leaf in self._table.route_of(sample).leaves)

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """Return one verdict per sample, in the same order; scores are multiplied by the weight of their route.

        Raises:
            RewardError: a sample has no route, or a verifier broke its contract.
        """
        places: dict[int, list[int]] = {}
        routes: dict[int, Part] = {}
        for place, sample in enumerate(samples):
            route = self._table.route_of(sample)
            routes[id(route)] = route
            places.setdefault(id(route), []).append(place)
        verdicts: dict[int, Verdict] = {}
        for key, some in places.items():
            judged = judge_by(routes[key], [samples[place] for place in some], ask=self._ask)
            verdicts.update(zip(some, judged, strict=True))
        return [verdicts[place] for place in range(len(samples))]

    def close(self) -> None:
        """End all worker processes and calls; call it only when no `score` is running."""
        self._executors.close()

    def _ask(self, leaf: Leaf, samples: Sequence[Sample]) -> list[Verdict]:
        """Get one verifier's verdicts, from the cache where possible; equal samples of one call are judged once."""
        verifier = leaf.verifier
        keys = cache_keys(verifier, samples, params=leaf.params)
        known = {key: verdict for key in keys if key is not None and (verdict := self._cache.get(key)) is not None}
        wanted: list[int] = []
        seen = set(known)
        for place, key in enumerate(keys):
            if key is None or key not in seen:
                wanted.append(place)
            if key is not None:
                seen.add(key)
        wanted = _with_their_groups(verifier, samples, wanted)
        asked = [samples[place] for place in wanted]
        judged = self._executors.judge(verifier, asked, params=leaf.params, timeout_s=leaf.timeout_s)
        found: dict[int, Verdict] = dict(zip(wanted, judged, strict=True))
        for place, verdict in found.items():
            key = keys[place]
            self._cache.put(key, verdict)
            if key is not None:
                known[key] = verdict
        return [found[place] if key is None or place in found else known[key] for place, key in enumerate(keys)]


def _with_their_groups(verifier: Verifier, samples: Sequence[Sample], places: list[int]) -> list[int]:
    """Return the given positions; for a verifier of groups, also the positions of all other members of their groups."""
    if verifier.spec.per != "group" or not places:
        return places
    chosen = set(places)
    return [place for group in calls_of(verifier.spec, samples, most=1) if chosen & set(group) for place in group]
