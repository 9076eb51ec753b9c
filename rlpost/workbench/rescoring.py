"""Judges the stored responses of a run with another reward, and compares the verdicts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rlpost.errors import ArtifactError
from rlpost.records import Fault, FinishReason, Sample, Verdict
from rlpost.score_comparison import exceeds

SAMPLES_FILE = "samples.jsonl"
ADVANTAGE_TOLERANCE = 1e-9
"""An advantage closer to 0 than this has no sign."""

Judged = Callable[[Sequence[Sample]], list[Verdict]]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredGroup:
    """The responses to one prompt, as a run stored them."""

    samples: tuple[Sample, ...]
    scores: tuple[float | None, ...]
    faults: tuple[Fault | None, ...]
    """The faults that the run's own reward found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flip:
    """A response that the two rewards judge differently."""

    sample: Sample
    old: str
    new: str
    old_score: float | None
    new_score: float | None
    reason: str
    """The reason given by the new reward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RescoreReport:
    """The differences between the two rewards."""

    responses: int
    groups: int
    matrix: Mapping[tuple[str, str], int]
    """(old, new) -> number of responses; each is `paid`, `unpaid`, or a fault."""
    flips: tuple[Flip, ...]
    mean_change: float
    """New score minus old, averaged over the responses that both rewards scored; 0 if there are none."""
    groups_with_other_signs: int
    """Groups in which at least one response's advantage (score minus the group's mean) changes its sign."""
    groups_that_gain_signal: int
    """Groups whose scores were all equal before and are not any more."""
    groups_that_lose_signal: int


def stored_groups(run: Path, *, stage: str | None) -> list[StoredGroup]:
    """Read the groups in `samples.jsonl` of all stages of a run, of one stage's folder, or of one file.

    Raises:
        ArtifactError: the file does not exist, or one of its lines is not a stored group.
    """
    files = _sample_files(run, stage)
    groups: list[StoredGroup] = []
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                groups.append(_group(json.loads(line), name=f"{path.parent.name}:{number}"))
            except (ValueError, KeyError, TypeError) as error:
                raise ArtifactError(f"{path}:{number} must be a group that a run stored; found {error!r}") from error
    if not groups:
        raise ArtifactError(f"{run} has no stored responses to judge again: {', '.join(map(str, files))} is empty")
    return groups


def rescore(groups: Sequence[StoredGroup], judged: Judged, *, threshold: float) -> RescoreReport:
    """Judge all responses again; a score above `threshold` counts as paid."""
    verdicts = judged([sample for group in groups for sample in group.samples])
    given = iter(verdicts)
    judged_groups = [(group, [next(given) for _ in group.samples]) for group in groups]
    matrix: Counter[tuple[str, str]] = Counter()
    flips: list[Flip] = []
    changes: list[float] = []
    for group, new_verdicts in judged_groups:
        for index, verdict in enumerate(new_verdicts):
            old = _called(group.scores[index], group.faults[index], threshold)
            new = _called(verdict.score, verdict.fault, threshold)
            matrix[old, new] += 1
            old_score = group.scores[index]
            if old_score is not None and verdict.score is not None:
                changes.append(verdict.score - old_score)
            if old != new:
                flips.append(
                    Flip(
                        sample=group.samples[index],
                        old=old,
                        new=new,
                        old_score=old_score,
                        new_score=verdict.score,
                        reason=verdict.reason,
                    )
                )
    signs = [(_signs(group.scores), _signs([verdict.score for verdict in new])) for group, new in judged_groups]
    return RescoreReport(
        responses=len(verdicts),
        groups=len(groups),
        matrix=dict(matrix),
        flips=tuple(flips),
        mean_change=float(np.mean(changes)) if changes else 0.0,
        groups_with_other_signs=sum(not np.array_equal(old, new) for old, new in signs),
        groups_that_gain_signal=sum(not old.any() and bool(new.any()) for old, new in signs),
        groups_that_lose_signal=sum(bool(old.any()) and not new.any() for old, new in signs),
    )


def _called(score: float | None, fault: Fault | None, threshold: float) -> str:
    if fault is not None:
        return f"{fault} fault"
    assert score is not None, "a verdict has a score or a fault"
    return "paid" if exceeds(score, threshold) else "unpaid"


def _signs(scores_G: Sequence[float | None]) -> NDArray[np.float64]:
    """The sign of each score minus the mean of the group; 0 for a masked sample."""
    known = [score for score in scores_G if score is not None]
    mean = float(np.mean(known)) if known else 0.0
    differences_G = np.array([0.0 if score is None else score - mean for score in scores_G])
    return np.sign(np.where(np.abs(differences_G) < ADVANTAGE_TOLERANCE, 0.0, differences_G))


def _sample_files(run: Path, stage: str | None) -> list[Path]:
    if run.is_file():
        return [run]
    if (run / SAMPLES_FILE).is_file():
        return [run / SAMPLES_FILE]
    found = sorted(run.glob(f"stages/*/{SAMPLES_FILE}"))
    if stage is not None:
        # A stage's folder is called <number>-<name>, with the suffix `.partial` while the stage is running.
        chosen = [path for path in found if path.parent.name.partition("-")[2].removesuffix(".partial") == stage]
        names = ", ".join(path.parent.name for path in found) or "none"
        if not chosen:
            raise ArtifactError(f"--stage must be a stage that stored responses ({names}); found {stage!r}")
        return chosen
    if not found:
        raise ArtifactError(
            f"{run} must be a run's folder with stages/*/{SAMPLES_FILE}, a stage's folder, or such a file; found none"
        )
    return found


def _group(record: dict[str, Any], *, name: str) -> StoredGroup:
    messages = cast("list[dict[str, str]]", record["messages"])
    prompt = next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")
    responses = cast("list[dict[str, Any]]", record["responses"])
    dataset = record.get("dataset") or str(record["prompt"]).rpartition("/")[0]
    samples = tuple(
        Sample(
            id=f"{record['prompt']}#{index}",
            prompt=prompt,
            response=str(response["text"]),
            gold=record["gold"],
            meta=record.get("meta") or {},
            dataset=dataset,
            finish=cast("FinishReason", response.get("finish", "stop")),
            group=name,
            step=None if record.get("step") is None else int(record["step"]),
        )
        for index, response in enumerate(responses)
    )
    faults = tuple(None if response.get("fault") is None else Fault(response["fault"]) for response in responses)
    return StoredGroup(samples=samples, scores=tuple(response["score"] for response in responses), faults=faults)
