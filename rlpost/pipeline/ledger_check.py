"""The ledgers of a run, finished or going on, held against its recipe and its checkpoints. Reads files only."""

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
"""A stage is renamed once, when it is finished; more often only where somebody starts it again and again."""
_SAVED = TypeAdapter(SavedLedger)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCheck:
    """One RL stage of a run."""

    name: str
    folder: str
    """Without `.partial`."""
    is_finished: bool
    audit: LedgerAudit | None
    """None for a stage that has not begun."""
    checkpoint: str | None
    """The newest that can be resumed from; its ledger was compared."""


class _Found(NamedTuple):
    is_finished: bool
    journal: Journal | None
    saved: list[tuple[Path, SavedLedger | None]]
    """Newest first; None beside what cannot be read."""


def check_ledgers(run_root: Path) -> list[StageCheck]:
    """Every RL stage of the recipe, in order.

    Raises:
        ArtifactError: the folder is no run.
    """
    run = RunDirectory(run_root)
    return [_check_stage(run.stage(number, name), name, rules) for number, name, rules in _rl_stages(run_root)]


def _rl_stages(run_root: Path) -> list[tuple[int, str, StageRules]]:
    """(number, name, rules) of each."""
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
    """The stage's files; None where it has not begun. A run that goes on may rename the folder meanwhile."""
    for _ in range(_TRIES):
        # Beside a stage under way, a finished one is of an earlier recipe.
        folder = paths.work if paths.work.is_dir() else paths.final
        # Before the journal, which then has every line that they count.
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
    """The newest checkpoint that a resume would choose, and how it differs from the journal.

    One that agrees is not read in full, which would take long for a large model. One that is damaged or is taken away
    meanwhile is passed over, as a resume does.
    """
    for path, ledger in saved:
        differences = [] if ledger is None else compare(journal, ledger)
        if ledger is not None and not differences:
            return path.name, []
        if damage_of(path) is None:
            unreadable = Finding(f"checkpoint {path.name}", "it holds the ledger's state", "none that can be read")
            return path.name, differences or [unreadable]
    return None, []
