"""`rlpost submit`: the same run as a job of a Ray cluster; a thin skin over `ray job submit`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from rlpost.cli.check import ClusterOption, RecipeArgument, SetOption, load_checked
from rlpost.errors import ClusterError


def submit(
    recipe: RecipeArgument,
    cluster: ClusterOption = None,
    set_: SetOption = None,
    address: Annotated[
        str, typer.Option(help="The cluster's job server; `ray start --head` prints it.")
    ] = "http://127.0.0.1:8265",
    python: Annotated[
        str | None, typer.Option(help="The nodes' python with rlpost; by default this one's path.", show_default=False)
    ] = None,
    working_dir: Annotated[Path, typer.Option(help="Folder that the job starts in; every node must see it.")] = Path(),
) -> None:
    """Check a recipe here, then run it there. Shows the job's log; the exit code is the run's."""
    load_checked(recipe, cluster, overrides=set_ or [])
    job = [python or sys.executable, "-m", "rlpost", "run", str(recipe.resolve())]
    job += [] if cluster is None else ["--cluster", str(cluster.resolve())]
    job += [part for override in set_ or [] for part in ("--set", override)]
    # The run's folder must outlive the job, so the job goes to the folder instead of uploading a copy of it.
    entry = f"cd {shlex.quote(str(working_dir.resolve()))} && exec {shlex.join(job)}"
    command = [_ray_command(), "job", "submit", "--address", address, "--", "bash", "-c", entry]
    raise typer.Exit(subprocess.run(command, env=_environment(), check=False).returncode)


def _ray_command() -> str:
    beside = Path(sys.executable).with_name("ray")
    found = str(beside) if beside.is_file() else shutil.which("ray")
    if found is None:
        raise ClusterError("submit needs the `ray` command: pip install 'rlpost[cpu]' or 'rlpost[gpu]'")
    return found


def _environment() -> dict[str, str]:
    """Ray 2.60 makes a token file and asks for it, but its job command sends the token only when told to."""
    environment = dict(os.environ)
    if (Path.home() / ".ray" / "auth_token").is_file():
        environment.setdefault("RAY_AUTH_MODE", "token")
    return environment
