"""Filters demonstrations by the recipe's verifiers before a model learns from them (rejection by verdict)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rlpost.errors import DataError, RewardError
from rlpost.recipe.environment import hidden_in
from rlpost.records import Example, Fault, Sample, Verdict
from rlpost.score_comparison import reaches
from rlpost.stages.context import StageContext

FILE_NAME = "left_out.jsonl"
_SAMPLES_PER_CALL = 512


def not_worth_learning(
    context: StageContext, examples: Iterable[Example], *, count: int, least_score: float
) -> frozenset[str]:
    """Return the ids of the `count` examples whose response scores less; they go to left_out.jsonl with their verdicts.

    Examples are judged once per stage, so that a resumed stage trains on the same rows even if a judge would now
    differ.

    Raises:
        DataError: no example is left.
        RewardError: a demonstration could not be judged; leaving it out would mean to call it wrong.
    """
    path = context.directory / FILE_NAME
    if not path.exists():
        _write(path, _left_out(context, examples, count=count, least_score=least_score))
    records: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    refused = frozenset(record["id"] for record in records)
    kept = count - len(refused)
    unreadable = sum(record["fault"] == Fault.GOLD for record in records)
    name = context.stage.name
    told = f"{name}: {kept} of {count} demonstrations score at least {least_score:g}"
    context.console.say(told + (f"; {unreadable} have a reference that cannot be read" if unreadable else ""))
    if not kept:
        raise DataError(
            f"{told}: nothing is left to learn from; {path} has every verdict: lower stages[{name}].least_score, or "
            "mend the data or its verifier"
        )
    return refused


def _left_out(
    context: StageContext, examples: Iterable[Example], *, count: int, least_score: float
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    remaining, start = iter(examples), 0
    with context.console.progress(f"{context.stage.name}: judging", total=count, done=0) as progress:
        while chosen := list(islice(remaining, _SAMPLES_PER_CALL)):
            context.stop.raise_if_requested(f"after judging {start} of {count} demonstrations")
            verdicts = context.parts.scorer.score([_sample(example) for example in chosen])
            for example, verdict in zip(chosen, verdicts, strict=True):
                if verdict.fault is Fault.INFRA:
                    raise RewardError(
                        f"stage {context.stage.name} must judge every demonstration; {example.id} could not be judged "
                        f"({verdict.version}: {verdict.reason}): see to the verifier, then start the same command again"
                    )
                if verdict.score is None or not reaches(verdict.score, least_score):
                    found.append(_record(example, verdict))
            start += len(chosen)
            progress.step(start, {})
    return found


def _sample(example: Example) -> Sample:
    """Make a sample of the demonstration, as if the model had given it."""
    assert example.response is not None, "require_columns comes before"
    return Sample(
        id=example.id,
        prompt=example.question,
        response=example.response,
        gold=example.gold,
        meta=example.meta,
        dataset=example.dataset,
        group=example.id,
    )


def _record(example: Example, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": example.id,
        "score": verdict.score,
        "fault": verdict.fault,
        "reason": verdict.reason,
        "verifier": verdict.version,
        "response": example.response,
        "gold": example.gold,
    }


def _write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    beside = path.with_suffix(".writing")
    beside.write_text(
        "".join(json.dumps(hidden_in(record), default=repr) + "\n" for record in records), encoding="utf-8"
    )
    beside.replace(path)
