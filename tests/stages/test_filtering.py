"""Demonstrations that the verifiers refuse are left out of SFT, in the open and once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeParts, FakeScorer
from small_run import pipeline_of, recipe_document, recipe_of

from rlpost.errors import DataError, RewardError
from rlpost.pipeline.artifacts import Manifest
from rlpost.pipeline.selection import Selection
from rlpost.records import Fault, Sample, Verdict


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    document = recipe_document(tmp_path)
    document["stages"] = [{**document["stages"][0], "least_score": 0.5}]
    return document


def execute(document: dict[str, Any], *, verdict: Any) -> tuple[list[Manifest], FakeParts]:
    parts = FakeParts()
    parts.scorer = FakeScorer(verdict)
    selection = Selection.of(recipe_of(document), first=None, last=None)
    return pipeline_of(document, parts, can_generate=False).execute(selection), parts


def left_out(document: dict[str, Any]) -> list[dict[str, Any]]:
    (path,) = Path(document["output"]).glob("stages/01-sft*/left_out.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def refuses_even(sample: Sample) -> Verdict:
    if sample.id.endswith("/1"):
        return Verdict(fault=Fault.GOLD, reason="no reference", version="fake@1")
    return Verdict(score=float(int(sample.id.rpartition("/")[2]) % 2), reason="by its place", version="fake@1")


def test_what_scores_too_low_or_cannot_be_judged_by_its_reference_is_left_out_with_its_verdict(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _, parts = execute(document, verdict=refuses_even)
    records = left_out(document)
    judged = [int(sample.id.rpartition("/")[2]) for sample in parts.scorer.samples]
    refused = [place for place in judged if place % 2 == 0 or place == 1]
    assert [record["id"] for record in records] == [f"sums/{place}" for place in refused]
    assert {record["fault"] for record in records} == {None, "gold"}
    assert records[0]["reason"] == "by its place" and records[0]["response"]
    said = capsys.readouterr().out
    assert f"sft: {len(judged) - len(refused)} of {len(judged)} demonstrations score at least 0.5" in said
    assert "1 have a reference that cannot be read" in said


def test_a_perfect_demonstration_stays_whatever_the_weights_of_its_parts_add_up_to(document: dict[str, Any]) -> None:
    document["stages"][0]["least_score"] = 1.0
    _, parts = execute(document, verdict=lambda sample: Verdict(score=0.7 + 0.2 + 0.1, version="fake@1"))
    assert not left_out(document)
    assert {sample.step for sample in parts.scorer.samples} == {None}, "scheduled weights have their last value"


def test_without_the_key_nothing_is_judged(document: dict[str, Any]) -> None:
    del document["stages"][0]["least_score"]
    _, parts = execute(document, verdict=refuses_even)
    assert parts.scorer.samples == []


def test_a_demonstration_that_nobody_could_judge_stops_the_stage_and_is_judged_the_next_time(
    document: dict[str, Any],
) -> None:
    with pytest.raises(RewardError, match=r"stage sft must judge every demonstration; sums/\d+ could not be judged"):
        execute(document, verdict=lambda sample: Verdict(fault=Fault.INFRA, reason="down"))
    _, parts = execute(document, verdict=lambda sample: Verdict(score=1.0))
    assert parts.scorer.samples and left_out(document) == []


def test_nothing_left_to_learn_from_is_refused_with_the_place_of_the_verdicts(document: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"0 of \d+ demonstrations .* nothing is left .*left_out\.jsonl"):
        execute(document, verdict=lambda sample: Verdict(score=0.0))
