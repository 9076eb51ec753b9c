from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlpost.errors import ArtifactError
from rlpost.records import Fault, Sample, Verdict
from rlpost.workbench.rescoring import RescoreReport, rescore, stored_groups


def record(prompt: str, *responses: tuple[str, float | None, str | None], **more: Any) -> dict[str, Any]:
    return {
        "step": 3,
        "prompt": prompt,
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": f"ask {prompt}"}],
        "gold": "7",
        "responses": [
            {"text": text, "finish": "stop", "versions": [0, 0], "score": score, "fault": fault}
            for text, score, fault in responses
        ],
        **more,
    }


def write(folder: Path, stage: str, *records: dict[str, Any]) -> Path:
    (folder / "stages" / stage).mkdir(parents=True, exist_ok=True)
    path = folder / "stages" / stage / "samples.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def by_text(samples: Sequence[Sample]) -> list[Verdict]:
    """A response says what it gets: a number, or the name of a fault."""
    return [
        Verdict(fault=Fault(sample.response), reason="asked for")
        if sample.response.isalpha()
        else Verdict(score=float(sample.response), reason="as told")
        for sample in samples
    ]


def rescored(tmp_path: Path, *records: dict[str, Any]) -> RescoreReport:
    write(tmp_path, "00-rl", *records)
    return rescore(stored_groups(tmp_path, stage=None), by_text, threshold=0.5)


def test_flips_are_counted_by_old_and_new(tmp_path: Path) -> None:
    report = rescored(
        tmp_path,
        record("rows/1", ("1", 1.0, None), ("0", 1.0, None), ("1", 0.0, None), ("0", 0.0, None)),
        record("rows/2", ("infra", 1.0, None), ("1", None, "infra"), ("0", 0.0, "policy")),
    )
    assert report.matrix == {
        ("paid", "paid"): 1,
        ("paid", "unpaid"): 1,
        ("unpaid", "paid"): 1,
        ("unpaid", "unpaid"): 1,
        ("paid", "infra fault"): 1,
        ("infra fault", "paid"): 1,
        ("policy fault", "unpaid"): 1,
    }
    assert (report.responses, report.groups, len(report.flips)) == (7, 2, 5)
    assert (report.flips[0].sample.id, report.flips[0].old, report.flips[0].new) == ("rows/1#1", "paid", "unpaid")
    assert report.mean_change == pytest.approx(0.0)


def test_the_mean_change_is_over_responses_that_both_scored(tmp_path: Path) -> None:
    report = rescored(tmp_path, record("rows/1", ("0.5", 0.0, None), ("1", 0.0, None), ("infra", 1.0, None)))
    assert report.mean_change == pytest.approx(0.75)


def test_groups_whose_advantages_change_sign_are_counted_and_a_shift_of_all_is_none(tmp_path: Path) -> None:
    report = rescored(
        tmp_path,
        record("rows/1", ("1", 0.0, None), ("0", 1.0, None)),  # turned round
        record("rows/2", ("0.4", 0.0, None), ("0.9", 0.5, None)),  # shifted
        record("rows/3", ("1", 0.0, None), ("0", 0.0, None)),  # gains a signal
        record("rows/4", ("1", 1.0, None), ("1", 0.0, None)),  # loses it
    )
    assert report.groups_with_other_signs == 3
    assert (report.groups_that_gain_signal, report.groups_that_lose_signal) == (1, 1)


def test_a_masked_response_has_no_sign(tmp_path: Path) -> None:
    report = rescored(tmp_path, record("rows/1", ("1", 1.0, None), ("0", 0.0, None), ("infra", None, "infra")))
    assert report.groups_with_other_signs == 0


def test_a_stored_response_comes_back_as_the_sample_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, "00-rl", record("sums/7", ("1", 1.0, None), meta={"choices": ["a"]}, dataset="sums"))
    [group] = stored_groups(path, stage=None)
    sample = group.samples[0]
    assert (sample.prompt, sample.response, sample.gold) == ("ask sums/7", "1", "7")
    assert (sample.dataset, sample.meta, sample.step) == ("sums", {"choices": ["a"]}, 3)
    assert sample.group


def test_without_its_name_the_data_set_is_read_from_the_prompts_id(tmp_path: Path) -> None:
    write(tmp_path, "00-rl", record("sums/7", ("1", 1.0, None)))
    assert stored_groups(tmp_path, stage=None)[0].samples[0].dataset == "sums"


def test_a_stage_is_chosen_by_its_name_also_while_it_runs(tmp_path: Path) -> None:
    write(tmp_path, "01-dpo", record("a/1", ("1", 1.0, None)))
    write(tmp_path, "02-grpo.partial", record("b/1", ("1", 1.0, None)))
    names = [group.samples[0].dataset for group in stored_groups(tmp_path, stage=None)]
    assert names == ["a", "b"]
    assert [group.samples[0].dataset for group in stored_groups(tmp_path, stage="grpo")] == ["b"]
    with pytest.raises(ArtifactError, match=r"01-dpo, 02-grpo.partial\); found 'ppo'"):
        stored_groups(tmp_path, stage="ppo")


def test_a_folder_without_stored_responses_and_a_broken_line_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must be a run's folder"):
        stored_groups(tmp_path, stage=None)
    path = write(tmp_path, "00-rl", record("a/1", ("1", 1.0, None)))
    path.write_text(path.read_text() + '{"step": 1}\n')
    with pytest.raises(ArtifactError, match=r"samples.jsonl:2 must be a group that a run stored"):
        stored_groups(tmp_path, stage=None)
