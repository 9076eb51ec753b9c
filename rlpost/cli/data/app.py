"""The command group `rlpost data`."""

from __future__ import annotations

import typer

from rlpost.cli.data.decontaminate import decontaminate
from rlpost.cli.data.near_duplicates import near_duplicates_

data_app = typer.Typer(no_args_is_help=True, help="Compare the data sets of a recipe with each other.")
data_app.command("decontaminate")(decontaminate)
data_app.command("near-duplicates")(near_duplicates_)
