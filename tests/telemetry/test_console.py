from __future__ import annotations

import pytest

from rlpost.telemetry import console as console_module
from rlpost.telemetry.console import Console, describe, duration_words


def test_the_line_of_a_step_shows_learning_time_and_where_it_went() -> None:
    metrics = {
        "reward": 0.51234,
        "grad_norm": 3.0,
        "response_tokens": 20.25,
        "time/step_s": 2.0,
        "time/generate_s": 1.0,
        "time/train_s": 0.8,
        "time/sync_s": 0.001,
        "time/other_s": 0.199,
    }
    assert describe(metrics) == (
        "reward 0.512 | response_tokens 20.2 | 2.00 s/step | generate 50%, train 40%, other 10%"
    )
    assert describe({}) == ""
    assert describe({"staleness/mean": 1.25, "staleness/max": 2.0}) == "staleness 1.2"
    assert describe({"staleness/mean": 0.0, "staleness/max": 0.0}) == ""


def test_without_a_terminal_a_stage_prints_its_start_its_first_and_last_step_and_not_every_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Console().progress("sft", total=50, done=0) as progress:
        for step in range(50):
            progress.step(step + 1, {"loss": 1.5})
    assert capsys.readouterr().out.splitlines() == ["sft 0/50 begins", "sft 1/50 loss 1.5", "sft 50/50 loss 1.5"]


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Console().say("data[0] [bold]is[/bold] " + "x" * 200)
    assert capsys.readouterr().out == "data[0] [bold]is[/bold] " + "x" * 200 + "\n"


def test_a_table_has_a_row_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table("held-out scores", ["stage", "pass@1"], [["sft", "0.410"], ["grpo", "0.620"]])
    printed = capsys.readouterr().out
    assert "held-out scores" in printed
    assert [line.split() for line in printed.splitlines() if "0." in line] == [
        ["│", "sft", "│", "0.410", "│"],
        ["│", "grpo", "│", "0.620", "│"],
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(45.4, "45 s"), (89, "89 s"), (95, "2 min"), (3_600, "60 min"), (12_000, "3 h 20 min")]
)
def test_durations_are_given_in_the_largest_unit_that_tells_them(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_a_line_of_a_log_says_how_long_the_rest_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(console_module.time, "monotonic", lambda: now[0])
    with Console().progress("sft", total=50, done=10) as progress:
        now[0] = 120.0
        progress.step(14, {"loss": 1.5})
        progress.step(50, {"loss": 1.5})
    assert capsys.readouterr().out.splitlines()[1:] == ["sft 14/50 loss 1.5 | 3 min left", "sft 50/50 loss 1.5"]
