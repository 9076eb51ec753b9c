"""`rlpost scale`: changes the number of engines of a running run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlpost.pipeline.control import write_wanted_actors


def scale(
    run: Annotated[Path, typer.Argument(help="The folder of a run that is going on.", show_default=False)],
    actors: Annotated[int, typer.Option("--actors", help="Rollout actors to go on with.", show_default=False)],
) -> None:
    """Add or remove rollout actors of a run that is going on, until it ends."""
    write_wanted_actors(run, actors)
    typer.echo(
        f"{run}: asked for {actors} rollout {'actor' if actors == 1 else 'actors'}. The run follows within a second "
        "while it generates and says so: added ones serve once they hold the current weights, removed ones finish what "
        "they have first"
    )
