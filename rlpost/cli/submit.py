"""`rlpost submit`: runs the recipe as a job of a Ray cluster, and resubmits the job when it is killed."""

from __future__ import annotations

import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rlpost.cli.check import ClusterOption, RecipeArgument, SetOption, load_checked
from rlpost.errors import ClusterError
from rlpost.pipeline.progress import marks


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
    working_dir: Annotated[
        Path, typer.Option(help="Folder that the job starts in; every node must see it, and so must this command.")
    ] = Path(),
    retry: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Submit again, after a growing pause, when the job was killed, stopped by SIGTERM, or lost by its "
            "cluster; N times in a row without a newer checkpoint or finished stage. Never after a refusal, a gate, "
            "an error, or a stop by hand.",
        ),
    ] = 0,
) -> None:
    """Check a recipe here, then run it as a job. Shows the job's log; the exit code is the run's.

    Ctrl-C leaves the job running, and says how to follow and stop it. `ray job stop` sends SIGTERM and kills 3 s later
    unless RAY_JOB_STOP_WAIT_TIME_S, in the environment of `ray start`, allows more time for a step to end.
    """
    loaded, _ = load_checked(recipe, cluster, overrides=set_ or [])
    job = [python or sys.executable, "-m", "rlpost", "run", str(recipe.resolve())]
    job += [] if cluster is None else ["--cluster", str(cluster.resolve())]
    job += [part for override in set_ or [] for part in ("--set", override)]
    # The run's folder must outlive the job, so the job starts in that folder instead of in an uploaded copy.
    entry = f"cd {shlex.quote(str(working_dir.resolve()))} && exec {shlex.join(job)}"
    _send_token()
    try:
        from rlpost.cluster.jobs import RayJobs, connect
        from rlpost.cluster.resubmission import run_to_end
    except ImportError as error:
        raise ClusterError(f"submit needs ray: pip install 'rlpost[cpu]' or 'rlpost[gpu]'; found: {error}") from error

    exit_code = run_to_end(
        RayJobs(address, connect=connect, show=partial(typer.echo, nl=False)),
        shlex.join(["bash", "-c", entry]),
        retries=retry,
        marks=partial(marks, working_dir.resolve() / loaded.recipe.output),
        say=typer.echo,
        sleep=time.sleep,
    )
    raise typer.Exit(exit_code)


def _send_token() -> None:
    """Make Ray's client send the token: Ray 2.60 creates a token file and asks for the token, but its client sends it
    only if this variable is set before the import.
    """
    if (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
