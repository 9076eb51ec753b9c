from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from rlpost.telemetry.tracker import JsonlTracker, read_metrics


def log_steps(path: Path, steps: range, *, loss: float) -> None:
    tracker = JsonlTracker(path, first_step=steps.start)
    for step in steps:
        tracker.log(step, {"loss": loss})
    tracker.close()


def test_records_are_one_json_line_a_step_readable_while_the_run_goes_on(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "m.jsonl", first_step=0)
    tracker.log(0, {"loss": np.float32(0.5), "tokens": 4096.0, "big": 2.0**60})
    assert (
        tmp_path / "m.jsonl"
    ).read_text() == '{"step": 0, "loss": 0.5, "tokens": 4096, "big": 1.152921504606847e+18}\n'
    tracker.close()


def test_steps_that_run_again_replace_their_records(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    log_steps(path, range(5), loss=1.0)
    log_steps(path, range(3, 6), loss=2.0)
    assert [(record["step"], record["loss"]) for record in read_metrics(path)] == [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 2),
        (5, 2),
    ]


@pytest.mark.parametrize("torn", ['{"step": 2, "lo', '{"step": 2', "{"])
def test_a_torn_last_line_is_not_read_and_not_kept(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "m.jsonl"
    log_steps(path, range(2), loss=1.0)
    with path.open("a") as file:
        file.write(torn)
    assert [record["step"] for record in read_metrics(path)] == [0, 1]
    log_steps(path, range(2, 4), loss=1.0)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2, 3]


def test_a_number_that_is_none_is_kept_as_such(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "m.jsonl", first_step=0)
    tracker.log(0, {"loss": float("nan"), "grad_norm": float("inf")})
    tracker.close()
    (record,) = read_metrics(tmp_path / "m.jsonl")
    assert math.isnan(record["loss"]) and math.isinf(record["grad_norm"])
