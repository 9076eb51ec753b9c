"""The display at the widths of common terminals: nothing that a person reads is cut in mid-word."""

from __future__ import annotations

import pytest

from rlpost.telemetry.console import Console

METRICS = {"loss": 0.123, "reward": 0.5, "accuracy": 0.25, "response_tokens": 512.0, "time/step_s": 3.25}


def at_width(monkeypatch: pytest.MonkeyPatch, columns: int) -> Console:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    return Console()


@pytest.mark.parametrize("columns", [80, 120])
def test_the_progress_row_keeps_name_count_and_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    with at_width(monkeypatch, columns).progress("rl_on_arithmetic", total=120, done=0) as progress:
        progress.step(7, METRICS)
    row = capsys.readouterr().out
    assert "rl_on_arithmetic" in row
    assert "  7/120" in row
    assert "-:--:--" in row
    assert "loss 0.123" in row


def test_a_job_log_says_that_a_stage_begins_before_its_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress("rl", total=20, done=3):
        assert capsys.readouterr().out == "rl 3/20 begins\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_no_word_of_a_table_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    header = ["stage", *(f"held_out_score_{number}" for number in range(8))]
    row = ["rl_on_arithmetic", *(f"0.12{number}" for number in range(8))]
    at_width(monkeypatch, columns).table("held-out scores", header, [row])
    shown = capsys.readouterr().out
    assert [word for word in (*header, *row) if word not in shown] == []
    assert max(map(len, shown.splitlines())) <= columns
