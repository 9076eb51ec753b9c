"""The command group `rlpost data`."""

from __future__ import annotations

import typer

from rlpost.cli.data.decontaminate import decontaminate
from rlpost.cli.data.near_duplicates import near_duplicates_
from rlpost.cli.data.show import show

data_app = typer.Typer(no_args_is_help=True, help="Look at the data sets of a recipe, and compare them.")
data_app.command("show")(show)
data_app.command("decontaminate")(decontaminate)
data_app.command("near-duplicates")(near_duplicates_)
