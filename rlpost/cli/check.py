"""`rlpost check`: what is wrong with a recipe, or what it amounts to, in about a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rlpost.errors import RecipeError
from rlpost.recipe.arithmetic import describe
from rlpost.recipe.check import problems
from rlpost.recipe.load import LoadedRecipe, load_cluster, load_recipe
from rlpost.recipe.problems import listed, problem_lines
from rlpost.recipe.schema import ClusterConfig, Recipe
from rlpost.recipe.yaml_tree import nearest_node
from rlpost.scoring.registry import resolve
from rlpost.scoring.routes import ANY_OTHER, check_rewards

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
ClusterOption = Annotated[
    Path | None, typer.Option(help="The cluster file; by default one machine without GPUs.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe, for example stages.grpo.steps=5."),
]


def check(recipe: RecipeArgument, cluster: ClusterOption = None, set_: SetOption = None) -> None:
    """Say what is wrong with a recipe, or its batch arithmetic in words. Loads no data, no torch, no ray."""
    loaded, where = load_checked(recipe, cluster, overrides=set_ or [])
    typer.echo("\n".join(describe(loaded.recipe, where)))


class Checked(NamedTuple):
    """A recipe and a cluster that fit each other, as far as can be known without data."""

    loaded: LoadedRecipe
    cluster: ClusterConfig


def load_checked(recipe: Path, cluster: Path | None, *, overrides: Sequence[str]) -> Checked:
    """Load and check a recipe; every command that takes one begins with this.

    Raises:
        RecipeError: lists everything that keeps this recipe from running on this cluster.
    """
    loaded = load_recipe(recipe, overrides=overrides)
    where = ClusterConfig(name="default") if cluster is None else load_cluster(cluster, overrides=[]).cluster
    lines = refusals(loaded, where)
    if lines:
        raise RecipeError(listed(lines, title=str(recipe)))
    return Checked(loaded=loaded, cluster=where)


def refusals(loaded: LoadedRecipe, cluster: ClusterConfig) -> list[str]:
    """Everything that keeps this recipe from running on this cluster, one line each with file and key."""
    rewards = check_rewards(loaded.recipe)
    reads = {} if rewards else _verifier_reads(loaded.recipe)
    lines = problem_lines(loaded.root, problems(loaded.recipe, cluster, verifier_reads=reads))
    place = nearest_node(loaded.root, ("rewards",)).where
    return [*lines, *(f"{place}: {text}" for text in rewards)]


def _verifier_reads(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Data set -> what its verifier cannot judge without, where the recipe alone says which verifier that is."""
    rewards = recipe.judging()
    if rewards is None or rewards.route_by != "dataset":
        return {}
    routes = rewards.routes
    judged = {name: routes.get(name) or routes[ANY_OTHER] for name in recipe.judged_data()}
    return {name: resolve(route.verifier).spec.requires for name, route in judged.items()}
