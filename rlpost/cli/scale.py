"""`rlpost scale`: changes the number of engines of a running run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlpost.pipeline.control import write_wanted_actors


def scale(
    run: Annotated[Path, typer.Argument(help="The folder of a run in progress.", show_default=False)],
    actors: Annotated[int, typer.Option("--actors", help="Number of rollout actors from now on.", show_default=False)],
) -> None:
    """Add or remove rollout actors of a run in progress, for the rest of the run."""
    write_wanted_actors(run, actors)
    typer.echo(
        f"{run}: asked for {actors} rollout {'actor' if actors == 1 else 'actors'}. While it generates, the run "
        "follows within a second and says so: added actors serve once they hold the current weights, and removed ones "
        "finish their requests first"
    )
