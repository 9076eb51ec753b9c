"""The routes of a recipe (`rewards.routes`): which composition of verifiers judges which sample.

Imports no torch, so that `rlpost check` can use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rlpost.errors import RewardError
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.problems import Problem
from rlpost.recipe.rewards import RewardNode, RewardsConfig
from rlpost.recipe.schema import Recipe
from rlpost.recipe.stages import AnyStage
from rlpost.recipe.yaml_tree import KeyPath
from rlpost.records import Prompt, Sample
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.composition import Leaf, Part
from rlpost.scoring.registry import resolve
from rlpost.scoring.requirements import why_it_cannot_run

ANY_OTHER = "*"
"""The route of every sample that has no route of its own."""


def compiled(node: RewardNode) -> Part:
    """Resolve the verifiers in the tree of one route.

    Raises:
        RewardError: names everything that is wrong with the route.
    """
    problems = list(_problems_of_tree(node))
    if problems:
        raise RewardError("; ".join(f"{_dotted(path)}: {text}" if path else text for path, text in problems))
    return _part(node, in_gate=False)


def _part(node: RewardNode, *, in_gate: bool) -> Part:
    leaf = None
    name, least = node.name, node.least
    if node.verifier is not None:
        verifier = resolve(node.verifier)
        timeout_s = verifier.spec.timeout_s if node.timeout_s is None else node.timeout_s
        leaf = Leaf(verifier=verifier, params=verifier.validated(node.params), timeout_s=timeout_s)
        name = name or verifier.spec.name
        least = verifier.spec.score_range[1] if least is None else least
    children = tuple(_part(child, in_gate=in_gate or path == ("gate",)) for path, child in node.children())
    return Part(node=node, name=name, least=least, leaf=leaf, children=children, in_gate=in_gate)


class RouteTable:
    """All routes of a recipe."""

    def __init__(self, rewards: RewardsConfig) -> None:
        self._column = rewards.route_by
        self.routes: dict[str, Part] = {}
        for value, node in rewards.routes.items():
            try:
                self.routes[value] = compiled(node)
            except RewardError as error:
                raise RewardError(f"rewards.routes.{value}: {error}") from error

    def route_of(self, sample: Sample | Prompt) -> Part:
        """Return the route of this sample, or of the samples of this prompt.

        Raises:
            RewardError: no route applies to it.
        """
        value = sample.dataset if self._column == "dataset" else sample.meta.get(self._column)
        route = self.routes.get(str(value)) or self.routes.get(ANY_OTHER)
        if route is None:
            raise RewardError(
                f"sample {sample.id} must have a route; its `{self._column}` is {value!r}: "
                f"{nearest_words(str(value), self.routes)}; add a route for it, or `{ANY_OTHER}`, to rewards.routes"
            )
        return route


def refuse_unrouted(recipe: Recipe, prompts: Iterable[Prompt]) -> None:
    """Check that every prompt has a route, before a device is used.

    Raises:
        RewardError: a prompt has no route.
    """
    rewards = recipe.judging()
    if rewards is None or ANY_OTHER in rewards.routes:
        return
    table = RouteTable(rewards)
    for prompt in prompts:
        table.route_of(prompt)


def check_rewards(recipe: Recipe) -> list[Problem]:
    """List the problems in a recipe's rewards; empty if there are none."""
    judged = recipe.judged_data()
    rewards = recipe.judging()
    if rewards is None:
        users = sorted(set(judged.values()))
        text = f"{', '.join(users)} needs scores: add a `rewards` section"
        return [Problem(path=("rewards",), text=text)] if users else []
    problems: list[Problem] = []
    for value, node in rewards.routes.items():
        problems += [
            Problem(path=("rewards", "routes", value, *path), text=text) for path, text in _problems_of_tree(node)
        ]
    if rewards.route_by == "dataset":
        problems += _unrouted(judged, rewards.routes)
        problems += [
            Problem(
                path=("rewards", "routes", value),
                text=f"no data set has this name: {nearest_words(value, recipe.data)}",
            )
            for value in rewards.routes
            if value != ANY_OTHER and value not in recipe.data
        ]
    return problems or [*_unknown_parts(recipe, rewards)]


def columns_read(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Return data set -> the roles (`gold`) and columns that its rows need in order to be judged, as far as the recipe
    says.

    Call it only for a recipe in which `check_rewards` found no problem.
    """
    rewards = recipe.judging()
    if rewards is None:
        return {}
    if rewards.route_by != "dataset":
        column = () if ANY_OTHER in rewards.routes else (rewards.route_by,)
        return dict.fromkeys(recipe.judged_data(), column)
    routes = {name: rewards.routes.get(name) or rewards.routes[ANY_OTHER] for name in recipe.judged_data()}
    return {
        name: tuple(dict.fromkeys(key for reference in node.verifiers() for key in resolve(reference).spec.requires))
        for name, node in routes.items()
    }


def _problems_of_tree(root: RewardNode) -> Iterator[tuple[KeyPath, str]]:
    """Yield (key path below the route, problem); a part can refer only to the names of parts that run before it."""
    earlier: dict[str, bool] = {}
    for path, node, is_done in _in_order(root):
        if not is_done:
            yield from _when_problems(node, path, earlier)
            if node.gate is not None and node.gate.verifier is None and node.gate.least is None:
                yield (*path, "gate"), "a gate over several verifiers needs `least`: the smallest value that passes"
            continue
        verifier = None
        if node.verifier is not None:
            verifier, problem = _resolved(node, path)
            if problem is not None:
                yield problem
        name = node.name or (verifier.spec.name if verifier is not None else node.verifier)
        if name is None:
            continue
        if name in earlier:
            key = "name" if node.name is not None else "verifier"
            yield (*path, key), f"another part of this route is called `{name}` already: give one of them a `name`"
        earlier[name] = node.verifier is not None or node.least is not None


def _in_order(root: RewardNode) -> Iterator[tuple[KeyPath, RewardNode, bool]]:
    """Yield every node twice: before its children run, and after."""
    yield (), root, False
    for path, child in root.children():
        yield from (((*path, *deeper), node, is_done) for deeper, node, is_done in _in_order(child))
    yield (), root, True


def _when_problems(node: RewardNode, path: KeyPath, earlier: Mapping[str, bool]) -> Iterator[tuple[KeyPath, str]]:
    if node.when is None:
        return
    if node.when not in earlier:
        words = nearest_words(node.when, earlier)
        yield (*path, "when"), f"no part that runs before this one is called {node.when!r}: {words}"
    elif not earlier[node.when]:
        yield (*path, "when"), f"{node.when!r} stands for several verifiers: give it `least`, the value that passes"


def _resolved(node: RewardNode, path: KeyPath) -> tuple[Verifier | None, tuple[KeyPath, str] | None]:
    assert node.verifier is not None
    try:
        verifier = resolve(node.verifier)
    except RewardError as error:
        return None, ((*path, "verifier"), str(error))
    lacking = why_it_cannot_run(verifier)
    if lacking is not None:
        return verifier, ((*path, "verifier"), f"{verifier.spec.name} cannot run here: {lacking}")
    try:
        verifier.validated(node.params)
    except RewardError as error:
        return verifier, ((*path, "params"), str(error))
    return verifier, None


def _unrouted(judged: Mapping[str, str], routes: Mapping[str, RewardNode]) -> list[Problem]:
    if ANY_OTHER in routes:
        return []
    return [
        Problem(
            path=("rewards", "routes"),
            text=f"data set {name} is judged in {user} but rewards.routes has no entry for it: add `{name}:` or "
            f"`{ANY_OTHER}:`",
        )
        for name, user in judged.items()
        if name not in routes
    ]


def _unknown_parts(recipe: Recipe, rewards: RewardsConfig) -> Iterator[Problem]:
    """Find parts that `advantage.parts` names and no composition has. The own parts of a single verifier are not known
    here.
    """
    for index, stage in enumerate(recipe.stages):
        if not stage.score_parts:
            continue
        routes = _routes_of(stage, rewards)
        if any(node.verifier is not None for node in routes):
            continue
        known = {name for node in routes for name in compiled(node).names}
        for name in stage.score_parts:
            if known and name not in known and name.rpartition(".")[0] not in known:
                text = f"`rewards` has no part of this name: {nearest_words(name, known)}"
                yield Problem(path=("stages", index, "advantage", "parts", name), text=text)


def _routes_of(stage: AnyStage, rewards: RewardsConfig) -> list[RewardNode]:
    if rewards.route_by != "dataset":
        return list(rewards.routes.values())
    found: list[Any] = [rewards.routes.get(name) or rewards.routes.get(ANY_OTHER) for name in stage.data_sets]
    return [node for node in found if node is not None]


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))
