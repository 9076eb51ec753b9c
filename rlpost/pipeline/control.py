"""Requests from users to a running run: small files in its folder, written by the command line."""

from __future__ import annotations

import fcntl
from pathlib import Path

from rlpost.errors import ArtifactError, ClusterError
from rlpost.pipeline.run_directory import LOCK_FILE, OWNER_FILE

_WANTED_ACTORS = Path("control") / "rollout_actors"


def write_wanted_actors(run_root: Path, actors: int) -> None:
    """Ask the run to continue with this number of rollout actors.

    Raises:
        ArtifactError: the folder is not a run, or its run is not going on.
        ClusterError: `actors` is below 1.
    """
    if actors < 1:
        raise ClusterError(f"a run that generates needs at least 1 rollout actor; asked for {actors}")
    if not (run_root / OWNER_FILE).is_file():
        raise ArtifactError(f"a run's folder holds {OWNER_FILE}; {run_root} does not: name the recipe's output")
    if not _goes_on(run_root):
        raise ArtifactError(
            f"only a run that goes on can be scaled; no process holds {run_root}: set rollout.actors in the cluster "
            "file before starting it again"
        )
    order = run_root / _WANTED_ACTORS
    order.parent.mkdir(exist_ok=True)
    unfinished = order.with_suffix(".unfinished")
    unfinished.write_text(f"{actors}\n")
    unfinished.replace(order)


def take_wanted_actors(run_root: Path) -> int | None:
    """Return the number of rollout actors requested since the last call; None if there was no request.

    Raises:
        ClusterError: the file contains something other than a number of actors.
    """
    order = run_root / _WANTED_ACTORS
    taken = order.with_suffix(".taken")
    try:
        # Moved away first, so that a request that arrives in the meantime is not lost.
        order.replace(taken)
    except FileNotFoundError:
        return None
    written = taken.read_text(encoding="utf-8", errors="replace").strip()
    if not (written.isascii() and written.isdecimal()):
        raise ClusterError(f"{order} must hold a number of rollout actors; found {written[:40]!r}: use `rlpost scale`")
    return int(written)


def _goes_on(run_root: Path) -> bool:
    """Whether a process holds the run's lock."""
    try:
        with (run_root / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
