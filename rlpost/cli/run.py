"""`rlpost run`: runs a recipe's stages, in this process or in the Ray job that it was submitted as."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from rlpost.cli.check import ClusterOption, RecipeArgument, SetOption, load_checked
from rlpost.stages.stopping import StopRequest, stop_early


def run(
    recipe: RecipeArgument,
    cluster: ClusterOption = None,
    set_: SetOption = None,
    first: Annotated[str | None, typer.Option("--from", help="Run this stage again, and all after it.")] = None,
    last: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    go_on_with: Annotated[
        str | None,
        typer.Option("--go-on-with", help="Go on with this stage's last checkpoint although its keys have changed."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the run's folder first.")] = False,
) -> None:
    """Run a recipe. Finished stages are skipped; an interrupted stage resumes from its last checkpoint.

    SIGTERM ends the run after the current step, with a checkpoint and exit code 75; Ctrl-C ends it at once.
    """
    loaded, where = load_checked(recipe, cluster, overrides=set_ or [])
    # Before the first step, SIGTERM ends the run at once.
    signal.signal(signal.SIGTERM, stop_early)
    # This import loads torch; a recipe with a mistake is rejected before that.
    from rlpost.assembly import run_recipe

    stop = StopRequest((signal.SIGTERM,))
    run_recipe(loaded, where, first=first, last=last, go_on_with=go_on_with, fresh=fresh, stop=stop)
