"""`rlpost check`: lists the problems of a recipe, or describes the run, in about a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rlpost.errors import RecipeError
from rlpost.platform.processor import slow_format_lines
from rlpost.recipe.arithmetic import describe
from rlpost.recipe.check import problems
from rlpost.recipe.environment import hidden
from rlpost.recipe.load import LoadedRecipe, load_cluster, load_recipe
from rlpost.recipe.problems import listed, problem_lines
from rlpost.recipe.reward_words import reward_lines
from rlpost.recipe.schema import ClusterConfig
from rlpost.scoring.routes import check_rewards, columns_read
from rlpost.stages.plugins import plugin_problems

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
ClusterOption = Annotated[
    Path | None, typer.Option(help="The cluster file; by default one machine without GPUs.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe, for example stages.grpo.steps=5."),
]


def check(recipe: RecipeArgument, cluster: ClusterOption = None, set_: SetOption = None) -> None:
    """List a recipe's problems, or describe its batch arithmetic. Loads no data, no torch, no ray."""
    loaded, where = load_checked(recipe, cluster, overrides=set_ or [])
    rewards, slow = reward_lines(loaded.recipe.judging()), slow_format_lines(loaded.recipe, where)
    typer.echo(hidden("\n".join([*describe(loaded.recipe, where), *rewards, *slow])))


class Checked(NamedTuple):
    """A recipe and a cluster that fit each other, as far as this can be checked without data."""

    loaded: LoadedRecipe
    cluster: ClusterConfig


def load_checked(recipe: Path, cluster: Path | None, *, overrides: Sequence[str]) -> Checked:
    """Load and check a recipe; every command that takes a recipe starts with this.

    Raises:
        RecipeError: lists everything that prevents this recipe from running on this cluster.
    """
    loaded = load_recipe(recipe, overrides=overrides)
    where = ClusterConfig(name="default") if cluster is None else load_cluster(cluster, overrides=[]).cluster
    lines = refusals(loaded, where)
    if lines:
        raise RecipeError(listed(lines, title=str(recipe)))
    return Checked(loaded=loaded, cluster=where)


def refusals(loaded: LoadedRecipe, cluster: ClusterConfig) -> list[str]:
    """List everything that prevents this recipe from running on this cluster, one line each, with file and key."""
    rewards = check_rewards(loaded.recipe)
    reads = {} if rewards else columns_read(loaded.recipe)
    found = [*problems(loaded.recipe, cluster, verifier_reads=reads), *rewards, *plugin_problems(loaded.recipe)]
    return problem_lines(loaded.root, found)
