"""The folders of a run, and the lock that lets only one process write into them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from rlpost.errors import ArtifactError
from rlpost.records import RolloutGroup
from rlpost.stages.samples import group_record

_INPUTS = "inputs.json"
_ASIDE = ".set-aside-"
OWNER_FILE = "run.json"
LOCK_FILE = "lock"


class Begun(NamedTuple):
    """How a stage begins."""

    resuming: bool
    """Whether the work folder has work that the stage goes on with."""
    set_aside: Path | None = None
    """Where earlier work from other inputs is kept."""
    went_on: bool = False
    """Whether that work is from other inputs."""
    changed: tuple[str, ...] = ()
    """The keys of the stage in which the earlier work differs; empty if it differs in something else."""


@dataclass(frozen=True, slots=True)
class StagePaths:
    """`final` appears when the stage is finished; until then everything is in `work`."""

    final: Path
    work: Path

    def begin(self, inputs_hash: str, *, settings: Mapping[str, Any], go_on: bool) -> Begun:
        """Make the work folder, or find the one of an interrupted start.

        Work from other inputs is never removed: it is set aside, unless the stage goes on with it.

        Args:
            inputs_hash: Hash of everything that decides the result of the stage.
            settings: The stage's keys as plain data, to say which of them changed.
            go_on: Whether to go on with earlier work although its inputs differ: that of the work folder, or else what
                was set aside last.
        """
        found = self._stored()
        is_ours = found.get("inputs_hash") == inputs_hash
        asides = self._asides()
        if is_ours and not (go_on and asides and not found.get("went_on")):
            return Begun(resuming=True)
        if go_on and (is_ours or not self._has_work()) and asides:
            if self.work.exists():
                self.work.rename(self._next_aside())
            asides[-1].rename(self.work)
            found = self._stored()
        elif not self._has_work():
            self.restart(inputs_hash, settings=settings)
            return Begun(resuming=False)
        changed = _changed(found.get("settings") or {}, settings)
        if go_on:
            self._store(inputs_hash, settings=settings, went_on=changed or ("data, parents or code",))
            return Begun(resuming=True, went_on=True, changed=changed)
        aside = self.set_aside()
        self.restart(inputs_hash, settings=settings)
        return Begun(resuming=False, set_aside=aside, changed=changed)

    def went_on(self) -> tuple[str, ...]:
        """Return the keys in which the work folder's earlier work differed; empty if it has none from other inputs."""
        return tuple(self._stored().get("went_on") or ())

    def set_aside(self) -> Path | None:
        """Rename a work folder that has work, and return its new name."""
        if not self._has_work():
            return None
        aside = self._next_aside()
        self.work.rename(aside)
        return aside

    def restart(self, inputs_hash: str, *, settings: Mapping[str, Any]) -> None:
        """Make an empty work folder."""
        if self.work.exists():
            shutil.rmtree(self.work)
        self.work.mkdir(parents=True)
        self._store(inputs_hash, settings=settings, went_on=())

    def _store(self, inputs_hash: str, *, settings: Mapping[str, Any], went_on: Sequence[str]) -> None:
        beside = self.work / f"writing-{_INPUTS}"
        beside.write_text(
            json.dumps({"inputs_hash": inputs_hash, "settings": dict(settings), "went_on": list(went_on)})
        )
        beside.replace(self.work / _INPUTS)

    def _stored(self) -> dict[str, Any]:
        """Return the inputs of the work folder; empty if there is none, or the run was interrupted while making it."""
        try:
            found: Any = json.loads((self.work / _INPUTS).read_text())
        except (OSError, ValueError):
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def _asides(self) -> list[Path]:
        """Return the folders of work that was set aside, oldest first."""
        found = self.final.parent.glob(f"{self.final.name}{_ASIDE}*")
        return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))

    def _next_aside(self) -> Path:
        last = [int(path.name.rpartition("-")[2]) for path in self._asides()]
        return self.final.with_name(f"{self.final.name}{_ASIDE}{max(last, default=0) + 1}")

    def _has_work(self) -> bool:
        """Whether the work folder has anything that took time to make."""
        made = (path for path in self.work.rglob("*") if path.is_file()) if self.work.is_dir() else ()
        return any(path.name not in (_INPUTS, f"writing-{_INPUTS}") for path in made)


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


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    if not before:
        return ()
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return tuple(f"{key} ({_short(before.get(key))} -> {_short(now.get(key))})" for key in keys)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
