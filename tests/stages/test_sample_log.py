from __future__ import annotations

import json
from pathlib import Path

from fakes import make_group, scored

from rlpost.records import Fault, Verdict
from rlpost.stages.samples import SampleLog, group_record


def write_steps(directory: Path, steps: range) -> None:
    log = SampleLog(directory, first_step=steps.start)
    for step in steps:
        log.write(step, [make_group(scored(1, 0), index=3 * step + place) for place in range(3)])
    log.close()


def steps_in(path: Path) -> list[tuple[int, str]]:
    return [(record["step"], record["prompt"]) for record in map(json.loads, path.read_text().splitlines())]


def test_the_first_groups_of_each_step_are_written(tmp_path: Path) -> None:
    write_steps(tmp_path, range(2))
    assert steps_in(tmp_path / "samples.jsonl") == [(0, "sums/0"), (0, "sums/1"), (1, "sums/3"), (1, "sums/4")]


def test_steps_that_run_again_replace_what_they_wrote_and_a_torn_line_goes(tmp_path: Path) -> None:
    write_steps(tmp_path, range(4))
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write('{"step": 4, "pro')
    write_steps(tmp_path, range(2, 3))
    assert [step for step, _ in steps_in(tmp_path / "samples.jsonl")] == [0, 0, 1, 1, 2, 2]


def test_a_record_holds_answers_and_judgements() -> None:
    verdicts = [Verdict(score=0.5, parsed="4", reason="near"), Verdict(fault=Fault.INFRA, reason="no judge")]
    record = json.loads(json.dumps(group_record(make_group(verdicts, version=3))))
    assert record["messages"] == [{"role": "user", "content": "question 0"}]
    assert record["gold"] == "1"
    first, second = record["responses"]
    assert (first["text"], first["score"], first["parsed"], first["versions"]) == ("answer 0", 0.5, "4", [3, 3])
    assert (second["score"], second["fault"], second["reason"]) == (None, "infra", "no judge")
