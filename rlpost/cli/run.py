"""`rlpost run`: a recipe's stages, in this process or in the Ray job that it was submitted as."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from rlpost.cli.check import ClusterOption, RecipeArgument, SetOption, load_checked


def run(
    recipe: RecipeArgument,
    cluster: ClusterOption = None,
    set_: SetOption = None,
    first: Annotated[str | None, typer.Option("--from", help="Run this stage again, and all after it.")] = None,
    last: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the run's folder first.")] = False,
) -> None:
    """Run a recipe. Finished stages are skipped, a stage that was cut off goes on from its last checkpoint."""
    loaded, where = load_checked(recipe, cluster, overrides=set_ or [])
    # Being told to stop is Ctrl-C from a distance: both end the actors and leave a run that the same command resumes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from rlpost.assembly import run_recipe  # Brings torch; a recipe with a mistake is refused without it.

    run_recipe(loaded, where, first=first, last=last, fresh=fresh)
