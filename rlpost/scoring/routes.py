"""Which verifier judges which sample, by `rewards.routes` of the recipe; torch-free, so that `rlpost check` uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlpost.errors import RewardError
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import RewardsConfig, VerifierConfig
from rlpost.records import Sample
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.registry import resolve

ANY_OTHER = "*"
"""The route of samples that no other route takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One verifier with its parameters checked and its limits decided."""

    verifier: Verifier
    params: Mapping[str, Any]
    weight: float
    timeout_s: float

    @classmethod
    def of(cls, config: VerifierConfig) -> Route:
        """Resolve what the recipe names.

        Raises:
            RewardError: the verifier does not exist or its parameters do not fit.
        """
        verifier = resolve(config.verifier)
        return cls(
            verifier=verifier,
            params=verifier.validated(config.params),
            weight=config.weight,
            timeout_s=verifier.spec.timeout_s if config.timeout_s is None else config.timeout_s,
        )


class RouteTable:
    """All routes of a recipe."""

    def __init__(self, rewards: RewardsConfig) -> None:
        self._column = rewards.route_by
        self.routes = {value: Route.of(config) for value, config in rewards.routes.items()}

    def route_of(self, sample: Sample) -> Route:
        """The route that takes this sample.

        Raises:
            RewardError: no route does.
        """
        value = sample.dataset if self._column == "dataset" else sample.meta.get(self._column)
        route = self.routes.get(str(value)) or self.routes.get(ANY_OTHER)
        if route is None:
            raise RewardError(
                f"sample {sample.id} must have a route; its `{self._column}` is {value!r}: "
                f"{nearest_words(str(value), self.routes)}; add a route for it, or `{ANY_OTHER}`, to rewards.routes"
            )
        return route


def check_rewards(recipe: Recipe) -> list[str]:
    """What is wrong with the rewards of a recipe, in words; empty when nothing is."""
    judged = recipe.judged_data()
    rewards = recipe.judging()
    if rewards is None:
        users = sorted(set(judged.values()))
        return [f"{', '.join(users)} needs scores: add a `rewards` section"] if users else []
    problems: list[str] = []
    for value, config in rewards.routes.items():
        try:
            Route.of(config)
        except RewardError as error:
            problems.append(f"rewards.routes.{value}: {error}")
    if rewards.route_by == "dataset":
        problems += _unrouted(judged, rewards.routes)
        problems += [
            f"rewards.routes.{value}: no data set has this name: {nearest_words(value, recipe.data)}"
            for value in rewards.routes
            if value != ANY_OTHER and value not in recipe.data
        ]
    return problems


def _unrouted(judged: Mapping[str, str], routes: Mapping[str, VerifierConfig]) -> list[str]:
    if ANY_OTHER in routes:
        return []
    return [
        f"data set {name} is judged in {user} but rewards.routes has no entry for it: add `{name}:` or `{ANY_OTHER}:`"
        for name, user in judged.items()
        if name not in routes
    ]
