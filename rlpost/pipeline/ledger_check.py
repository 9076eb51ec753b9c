"""Checks the ledgers of a finished or running run against its recipe and its checkpoints. Only reads files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from rlpost.errors import ArtifactError
from rlpost.pipeline.run_directory import RunDirectory, StagePaths
from rlpost.recipe.load import RESOLVED_FILE
from rlpost.recipe.stages import STAGE_CLASSES
from rlpost.rollout.ledger_audit import Finding, LedgerAudit, SavedLedger, StageRules, audit, compare
from rlpost.rollout.ledger_journal import FILE_NAME, Journal, read_journal
from rlpost.stages.checkpoint_files import damage_of
from rlpost.stages.checkpoints import read_saved

_TRIES = 5
"""A stage is renamed once, when it is finished; it is renamed more often only if someone keeps restarting it."""
_SAVED = TypeAdapter(SavedLedger)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCheck:
    """One RL stage of a run."""

    name: str
    folder: str
    """Name of the stage's folder, without `.partial`."""
    is_finished: bool
    audit: LedgerAudit | None
    """The audit of the stage's journal; None for a stage that has not begun."""
    checkpoint: str | None
    """The newest checkpoint that a resume could use; its ledger was compared."""


class _Found(NamedTuple):
    is_finished: bool
    journal: Journal | None
    saved: list[tuple[Path, SavedLedger | None]]
    """Checkpoints with their ledgers, newest first; None in place of a ledger that cannot be read."""


def check_ledgers(run_root: Path) -> list[StageCheck]:
    """Check every RL stage of the recipe, in order.

    Raises:
        ArtifactError: the folder is not a run.
    """
    run = RunDirectory(run_root)
    return [_check_stage(run.stage(number, name), name, rules) for number, name, rules in _rl_stages(run_root)]


def _rl_stages(run_root: Path) -> list[tuple[int, str, StageRules]]:
    """Return (number, name, rules) of each RL stage."""
    path = run_root / RESOLVED_FILE
    try:
        stages: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["recipe"]["stages"]
        return [
            (number, stage["name"], StageRules(**{name: stage[name] for name in StageRules._fields}))
            for number, stage in enumerate(stages, start=1)
            if STAGE_CLASSES[stage["kind"]].keeps_ledger
        ]
    except FileNotFoundError as error:
        raise ArtifactError(
            f"a run's folder holds {RESOLVED_FILE}; {run_root} does not: name the recipe's output"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(
            f"{path} must be a recipe as `rlpost run` wrote it; it cannot be read ({type(error).__name__}): start the "
            "run again, which writes it anew"
        ) from error


def _check_stage(paths: StagePaths, name: str, rules: StageRules) -> StageCheck:
    found = _read(paths)
    result, checkpoint = None, None
    if found is not None:
        journal = found.journal or Journal(lines=[], unreadable=[], is_cut_off=False)
        result = audit(journal, rules, is_finished=found.is_finished)
        if found.journal is None and (found.is_finished or found.saved):
            result.findings.insert(0, Finding("the stage's folder", f"it holds {FILE_NAME}", "none"))
        if not found.is_finished:
            checkpoint, differences = _compare_newest(journal, found.saved)
            result.findings += differences
    return StageCheck(
        name=name,
        folder=paths.final.name,
        is_finished=found is not None and found.is_finished,
        audit=result,
        checkpoint=checkpoint,
    )


def _read(paths: StagePaths) -> _Found | None:
    """Read the stage's files; None if it has not begun. A running run may rename the folder in the meantime."""
    for _ in range(_TRIES):
        # A finished folder beside a partial one belongs to an earlier recipe.
        folder = paths.work if paths.work.is_dir() else paths.final
        # Read before the journal, which then contains every line that they count.
        saved = list(_saved_in(folder))
        try:
            return _Found(folder == paths.final, read_journal(folder / FILE_NAME), saved)
        except FileNotFoundError:
            if folder.is_dir():
                return _Found(folder == paths.final, None, saved)
            if not paths.work.is_dir() and not paths.final.is_dir():
                return None
    raise ArtifactError(f"{paths.work} must stay for the time of a look; it is made again and again: try again later")


def _saved_in(folder: Path) -> Iterator[tuple[Path, SavedLedger | None]]:
    for path in sorted((folder / "checkpoints").glob("step-*"), reverse=True):
        try:
            saved = read_saved(path)
            yield path, _SAVED.validate_python({"step": saved.step, **saved.state["ledger"]})
        except (OSError, ValueError, TypeError, KeyError, ValidationError):
            yield path, None


def _compare_newest(journal: Journal, saved: list[tuple[Path, SavedLedger | None]]) -> tuple[str | None, list[Finding]]:
    """Return the newest checkpoint that a resume would choose, and its differences from the journal.

    A checkpoint that agrees is not read in full, which would take long for a large model. A checkpoint that is damaged,
    or removed in the meantime, is skipped, as a resume does.
    """
    for path, ledger in saved:
        differences = [] if ledger is None else compare(journal, ledger)
        if ledger is not None and not differences:
            return path.name, []
        if damage_of(path) is None:
            unreadable = Finding(f"checkpoint {path.name}", "it holds the ledger's state", "none that can be read")
            return path.name, differences or [unreadable]
    return None, []
