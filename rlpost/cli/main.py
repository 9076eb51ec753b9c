"""The `rlpost` command: its subcommands, and how errors are shown to the user."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import rlpost
from rlpost.cli.chat import chat
from rlpost.cli.check import check
from rlpost.cli.data.app import data_app
from rlpost.cli.doctor import doctor
from rlpost.cli.ledger import ledger_app
from rlpost.cli.reward.app import reward_app
from rlpost.cli.run import run
from rlpost.cli.scale import scale
from rlpost.cli.submit import submit
from rlpost.errors import PreemptedError, RlpostError
from rlpost.platform.process_end import end_if_asked
from rlpost.recipe.environment import hidden
from rlpost.stages.stopping import StoppedEarly
from rlpost.telemetry.plain_text import printable

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as in shells."""


class Commands(TyperGroup):
    """Shows an error meant for a person as its message alone; a bug keeps its traceback."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the whole command, then end the process."""
        try:
            return super().main(*arguments, **options)
        except SystemExit as ended:
            end_if_asked(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except RlpostError as error:
            typer.echo(printable(hidden(str(error))), err=True)
            raise typer.Exit(error.exit_code) from error
        except StoppedEarly as stopped:
            typer.echo(f"{stopped}; the same command begins again", err=True)
            raise typer.Exit(PreemptedError.exit_code) from stopped
        except KeyboardInterrupt as interrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from interrupt


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (check, run, submit, scale, chat, doctor):
    app.command()(command)
app.add_typer(reward_app, name="reward")
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(rlpost.__version__)
        raise typer.Exit


@app.callback()
def rlpost_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Post-train a language model for a domain: one recipe from continued pre-training to RL."""
