"""The folders of a run, and the lock that lets only one process write into them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rlpost.errors import ArtifactError
from rlpost.records import RolloutGroup
from rlpost.stages.samples import group_record

_INPUTS = "inputs.json"
OWNER_FILE = "run.json"
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class StagePaths:
    """`final` appears when the stage is finished; until then everything is in `work`."""

    final: Path
    work: Path

    def begin(self, inputs_hash: str) -> bool:
        """Make the work folder; return True if it exists from the same inputs and can be resumed. Any other is
        removed.
        """
        stored = self.work / _INPUTS
        try:
            if json.loads(stored.read_text())["inputs_hash"] == inputs_hash:
                return True
        except (OSError, ValueError, KeyError):
            pass  # There is no folder yet, or the run was interrupted while making it.
        self.restart(inputs_hash)
        return False

    def restart(self, inputs_hash: str) -> None:
        """Make an empty work folder."""
        if self.work.exists():
            shutil.rmtree(self.work)
        self.work.mkdir(parents=True)
        (self.work / _INPUTS).write_text(json.dumps({"inputs_hash": inputs_hash}))


class RunDirectory:
    """`<output>/stages/<number>-<name>`, `<output>/summary.json`, `<output>/recipe.resolved.json`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: IO[str] | None = None

    def claim(self, recipe_name: str, *, fresh: bool) -> None:
        """Claim the folder for this recipe.

        Raises:
            ArtifactError: it contains the run of another recipe, or other files, or another process writes into it, or
                it cannot be created or locked.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"output must be a folder that can be made; {error}: set output to another") from error
        if any(path.name != LOCK_FILE for path in self.root.iterdir()):
            self._check_owner(recipe_name)
            self._take_lock()
            if not fresh:
                return
            for path in self.root.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK_FILE:
                    path.unlink()
        else:
            self._take_lock()
        beside = self.root / f"writing-{OWNER_FILE}"
        beside.write_text(json.dumps({"recipe": recipe_name}))
        beside.rename(self.root / OWNER_FILE)

    def _take_lock(self) -> None:
        """Take the kernel's lock on the lock file, which is held until this process ends, however it ends.

        Raises:
            ArtifactError: another process holds the lock, or the folder cannot be locked.
        """
        try:
            self._lock = (self.root / LOCK_FILE).open("a+", encoding="utf-8")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            assert self._lock is not None
            self._lock.seek(0)
            holder = self._lock.read()
            if holder == _this_process():
                return
            raise ArtifactError(
                f"only one process may write into a run; {holder or 'a process'} does in {self.root}: "
                "wait for it or end it, or set output to another folder"
            ) from error
        except OSError as error:
            raise ArtifactError(
                f"output must be a folder that can be written and locked; {error}: set output to another folder"
            ) from error
        self._lock.truncate(0)
        self._lock.write(_this_process())
        self._lock.flush()

    def _check_owner(self, recipe_name: str) -> None:
        owner = self.root / OWNER_FILE
        if not owner.exists():
            raise ArtifactError(
                f"output must be a new folder or one of an earlier run; {self.root} holds other files: set output "
                "to another folder"
            )
        found = json.loads(owner.read_text())["recipe"]
        if found != recipe_name:
            raise ArtifactError(
                f"output must be a new folder or one of this recipe; {self.root} holds a run of recipe {found!r}, "
                f"and this is {recipe_name!r}: set output to another folder, or remove that one"
            )

    @property
    def base(self) -> StagePaths:
        """Return the paths of the model before the first stage."""
        return self.stage(0, "base")

    def stage(self, number: int, name: str) -> StagePaths:
        """Return the paths of stage `number`, counted from 1."""
        folder = f"{number:02d}-{name}"
        return StagePaths(final=self.root / "stages" / folder, work=self.root / "stages" / f"{folder}.partial")

    def write_evaluation(self, paths: StagePaths, groups: Sequence[RolloutGroup], scores: dict[str, float]) -> None:
        """Write every held-out answer with its verdict, and the scores."""
        lines = [json.dumps(group_record(group)) + "\n" for group in groups]
        (paths.final / "evaluation.jsonl").write_text("".join(lines), encoding="utf-8")
        (paths.final / "evaluation.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


def _this_process() -> str:
    """Name this process so that no other has the same name, even one with the same id in another container."""
    # The time at which the process started, in clock ticks since the machine started, is the 22nd field of stat. The
    # second field is the program's name, which may contain spaces and parentheses.
    started = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    namespace = Path("/proc/self/ns/pid").readlink()
    return f"process {os.getpid()} on {socket.gethostname()} (started at tick {started} of boot {boot}, {namespace})"
