"""One case to its end: refused in words, or run on fake parts; everything else is a violation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from fakes import FakeLearner, FakeParts, FakeScorer
from fuzz_cases import ENVIRONMENT, Case, Written, write_case
from fuzz_limits import limited

from rlpost.cli.check import load_checked
from rlpost.errors import RlpostError, TrainingError
from rlpost.interfaces import LossFn
from rlpost.pipeline.artifacts import MODEL, hash_model, read_manifest
from rlpost.pipeline.prepare import prepare
from rlpost.pipeline.run import Pipeline
from rlpost.pipeline.run_directory import RunDirectory
from rlpost.pipeline.selection import Selection
from rlpost.pipeline.summary import show_summary
from rlpost.platform.disk_space import room_for
from rlpost.recipe.arithmetic import describe
from rlpost.recipe.load import LoadedRecipe, write_resolved
from rlpost.recipe.reward_words import reward_lines
from rlpost.recipe.schema import ClusterConfig, PreparationRole, Recipe
from rlpost.records import Sample, Verdict
from rlpost.settings import LearnerSettings
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.console import Console
from rlpost.train_records import StepReport, TrainBatch

LONGEST_MESSAGE = 2000
SIGNS_OF_INNARDS = ("Traceback", " object at 0x", "Node(", "Where(", "PosixPath(", "NodeEvent", "<class ")
EXIT_CODES = {1, 2, 3, 75}
SIGNS_ON_STDERR = ("Traceback (most recent call last)", "Exception ignored in", "panicked at", "RuntimeWarning")


class Violation(Exception):
    """What must not happen, in words."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case ended."""

    case: Case
    result: str
    """`refused at <step>` with the class of the error, `ran`, or `violation`."""
    message: str
    told: tuple[str, ...] = ()


class LenientScorer(FakeScorer):
    """Judges whatever data gives it: an empty prompt is the data's affair."""

    def score(self, samples: list[Sample]) -> list[Verdict]:  # type: ignore[override] - judges lists only
        self.started.set()
        return [self._verdict(sample) for sample in samples]


class RealisticLearner(FakeLearner):
    """Refuses a step as the real one does where credit is no number; numbers that overflow are the recipe's affair."""

    def step(self, batch: TrainBatch, loss: LossFn, *, planned_step: int | None = None) -> StepReport:
        if not all(np.isfinite(values_T).all() for values_T in batch.columns.values()):
            raise TrainingError("the loss and its gradient must be finite: lower optimizer.learning_rate")
        return super().step(batch, loss, planned_step=planned_step)


class RealisticParts(FakeParts):
    """Fake parts that ask less of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.scorer = LenientScorer()

    def build_learner(self, settings: LearnerSettings) -> FakeLearner:
        learner = RealisticLearner(weights=super().build_learner(settings).weights)
        self.learners[-1] = learner
        return learner


def run_case(case: Case, *, ground: Path, note: Callable[[tuple[str, ...]], None] = lambda told: None) -> Outcome:
    """In a folder of its own, with what it says on standard error looked through; `note` is told what it is first."""
    with _folder_like(ground) as folder, _captured_errors() as errors:
        written: Written | None = None
        try:
            written = write_case(case, folder)
            note(written.told)
            result, message = _to_its_end(written, folder)
            said = errors.read_text(errors="replace")
            signs = [sign for sign in SIGNS_ON_STDERR if sign in said]
            if signs:
                raise Violation(f"{signs[0]} on standard error: {said[-1500:]}")
        except Violation as violation:
            result, message = "violation", str(violation)
        except BaseException as error:  # Whatever escapes is what is looked for.
            what = "violation" if written is not None else "the case cannot be written"
            result, message = what, _told_in_short(error)
        told = () if written is None else written.told
        return Outcome(case=case, result=result, message=message, told=told)


def _to_its_end(written: Written, folder: Path) -> tuple[str, str]:
    output = folder / "run"
    try:
        checked = load_checked(written.recipe, None, overrides=written.overrides)
        lines = [*describe(checked.loaded.recipe, checked.cluster), *reward_lines(checked.loaded.recipe.judging())]
        assert "".join(lines).strip()
    except RlpostError as error:
        _check_refusal(error, folder)
        if error.exit_code != 2:
            raise Violation(f"a recipe must be refused with exit code 2, found {error.exit_code}") from error
        if output.exists():
            raise Violation("a recipe that is refused must leave no folder") from error
        return f"refused by check ({type(error).__name__})", str(error)
    recipe = limited(checked.loaded.recipe, output=output)
    first = _run(checked.loaded, recipe, folder)
    _check_folder(output, finished=first is None)
    # What was refused is refused again and what has ended is skipped: a folder is never in the way of its own command.
    again = _run(checked.loaded, recipe, folder)
    _check_folder(output, finished=again is None)
    if type(first) is not type(again):
        raise Violation(f"the same command must end alike, found {first!r} and then {again!r}")
    if first is None:
        return "ran", ""
    return f"refused by run ({type(first).__name__})", str(first)


def run_command(outcome: Outcome, *, ground: Path) -> Outcome:
    """The case of this outcome once more, by `rlpost check` in a process of its own, which must end alike."""
    with _folder_like(ground) as folder:
        written = write_case(outcome.case, folder)
        overrides = [word for override in written.overrides for word in ("--set", override)]
        command = [sys.executable, "-m", "rlpost", "check", written.recipe.name, *overrides]
        ended = subprocess.run(command, capture_output=True, check=False, timeout=60)
        said = ended.stderr.decode(errors="replace")
        wanted = 2 if outcome.result.startswith("refused by check") else 0
        if ended.returncode != wanted or bool(said.strip()) != bool(wanted) or "Traceback" in said:
            message = f"exit code {ended.returncode} where {wanted} was expected: {said[-1500:]}"
            return Outcome(case=outcome.case, result="violation", message=message, told=written.told)
        return Outcome(case=outcome.case, result=f"command, exit code {wanted}", message=said, told=written.told)


def _run(loaded: LoadedRecipe, recipe: Recipe, folder: Path) -> RlpostError | None:
    """What `rlpost run` does, on fake parts; the error that it ends with, if it does."""
    run, console = RunDirectory(Path(recipe.output)), Console()
    before = threading.enumerate()
    parts = RealisticParts()
    try:
        with room_for(run.root):
            run.claim(recipe.name, fresh=False)
            write_resolved(loaded, run.root)
            prepared = prepare(recipe, run, console, where=PreparationRole(cache_dir=str(run.root.parent / "cache")))
            pipeline = Pipeline(
                recipe=recipe,
                cluster=ClusterConfig(name="fake", step_timeout_s=5),
                run=run,
                parts=parts,
                console=console,
                data=prepared.data,
                identities=prepared.identities,
                base=prepared.base,
                stop=StopRequest(()),
                can_generate=True,
            )
            manifests = pipeline.execute(Selection.of(recipe, first=None, last=None))
        show_summary(run, manifests, console)
    except RlpostError as error:
        _check_refusal(error, folder)
        return error
    finally:
        _check_threads(before)
    return None


def _check_threads(before: list[threading.Thread]) -> None:
    """None is left that the run started; those told to end get a moment, and a library's daemon may stay."""
    for thread in threading.enumerate():
        if thread not in before and not thread.daemon:
            thread.join(5)
            if thread.is_alive():
                raise Violation(f"a thread of the run goes on after its end: {thread.name}")


def _check_refusal(error: RlpostError, folder: Path) -> None:
    text = str(error)
    if len(text.split()) < 4 or any(sign in text for sign in SIGNS_OF_INNARDS):
        raise Violation(f"an error must say in words what must hold, found {text[:300]!r}") from error
    if len(text.replace(str(folder), "")) > LONGEST_MESSAGE:
        raise Violation(f"an error must fit on a screen, found {len(text)} characters: {text[:1500]}") from error
    if error.exit_code not in EXIT_CODES:
        raise Violation(f"no such exit code is documented: {error.exit_code}") from error


def _check_folder(output: Path, *, finished: bool) -> None:
    """Folders of stages are whole artifacts or marked as under way; JSON that stands there is JSON to everyone."""
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        if "writing" in path.name or "unfinished" in path.name or (path.name.endswith(".partial") and finished):
            raise Violation(f"{name} must not be left behind")
        if path.suffix in (".json", ".jsonl") and path.is_file() and ".partial" not in name:
            _check_json(path, name=name)
    for folder in sorted((output / "stages").glob("*")):
        if folder.name.endswith(".partial"):
            continue
        manifest = read_manifest(folder)
        if manifest is None or hash_model(folder / MODEL)[0] != manifest.model_hash:
            raise Violation(f"{folder.name} must be a whole artifact")


def _check_json(path: Path, *, name: str) -> None:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    text = path.read_text(encoding="utf-8")
    documents = text.splitlines() if path.suffix == ".jsonl" else [text]
    try:
        for document in documents:
            json.loads(document, parse_constant=refuse)
    except ValueError as error:
        raise Violation(f"{name} must be JSON: {error}") from error


def _told_in_short(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
    return f"{type(error).__name__}: {str(error)[:400]} | {' > '.join(places)}"


@contextmanager
def _folder_like(ground: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=ground.parent))
    before = Path.cwd()
    try:
        for path in ground.iterdir():
            (folder / path.name).symlink_to(path)
        os.chdir(folder)
        os.environ.update(ENVIRONMENT)
        yield folder
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _captured_errors() -> Iterator[Path]:
    """File descriptor 2 itself, so that what a library written in C or Rust says is seen too."""
    kept = os.dup(2)
    with tempfile.NamedTemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield Path(file.name)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
