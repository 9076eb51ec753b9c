"""ledger.jsonl as a file: written, cut back on resume, read while it is written."""

from __future__ import annotations

import json
from pathlib import Path

from fakes import make_group, scored

from rlpost.rollout.ledger import LedgerCut
from rlpost.rollout.ledger_journal import (
    JournalLine,
    LedgerJournal,
    TrainedGroup,
    UntrainedPrompt,
    read_journal,
)


def cut(*, issued: int, still_open: tuple[int, ...] = (), dropped: dict[int, str] | None = None) -> LedgerCut:
    return LedgerCut(issued=issued, open=still_open, dropped=dropped or {}, state={})


def write_steps(directory: Path, steps: range, *, first_step: int = 0) -> LedgerJournal:
    journal = LedgerJournal(directory, first_step=first_step)
    for step in steps:
        group = make_group(scored(0, 1), index=step, version=step)
        journal.write(step, [group], cut(issued=step + 1))
    return journal


def steps_in(directory: Path) -> list[int]:
    return [line.step for line in read_journal(directory / "ledger.jsonl").lines]


def test_a_line_says_what_was_trained_dropped_and_issued_and_the_last_one_what_was_open(tmp_path: Path) -> None:
    journal = LedgerJournal(tmp_path, first_step=0)
    groups = [make_group(scored(0, 1, 1), index=2, version=5), make_group(scored(0, 1, 1), index=4, version=6)]
    journal.write(6, groups, cut(issued=7, dropped={3: "no signal"}))
    text = (tmp_path / "ledger.jsonl").read_text()
    assert json.loads(text) == {
        "step": 6, "trained": [[2, "sums/2", 3, 5], [4, "sums/4", 3, 6]], "dropped": [[3, "no signal"]], "issued": 7,
    }  # fmt: skip
    journal.end(cut(issued=8, still_open=(5, 6), dropped={7: "gold fault"}))
    journal.close()
    found = read_journal(tmp_path / "ledger.jsonl")
    assert (found.unreadable, found.is_cut_off) == ([], False)
    assert found.lines == [
        JournalLine(
            step=6,
            trained=(TrainedGroup(2, "sums/2", 3, 5), TrainedGroup(4, "sums/4", 3, 6)),
            dropped=(UntrainedPrompt(3, "no signal"),),
            issued=7,
        ),
        JournalLine(
            step=7,
            trained=(),
            dropped=(UntrainedPrompt(7, "gold fault"),),
            issued=8,
            ended=(UntrainedPrompt(5, "stage ended"), UntrainedPrompt(6, "stage ended")),
        ),
    ]


def test_each_line_is_in_the_file_before_the_step_goes_on(tmp_path: Path) -> None:
    journal = write_steps(tmp_path, range(2))
    assert steps_in(tmp_path) == [0, 1]
    journal.close()


def test_lines_of_steps_that_run_again_are_taken_out_the_end_among_them(tmp_path: Path) -> None:
    journal = write_steps(tmp_path, range(4))
    journal.end(cut(issued=4))
    journal.close()
    before = (tmp_path / "ledger.jsonl").read_text().splitlines()
    write_steps(tmp_path, range(2, 3), first_step=2).close()
    assert (tmp_path / "ledger.jsonl").read_text().splitlines() == before[:3]


def test_a_line_that_a_crash_cut_off_is_taken_out(tmp_path: Path) -> None:
    write_steps(tmp_path, range(3)).close()
    path = tmp_path / "ledger.jsonl"
    path.write_text(path.read_text()[:-9])
    assert (steps_in(tmp_path), read_journal(path).is_cut_off) == ([0, 1], True)
    write_steps(tmp_path, range(2, 4), first_step=2).close()
    assert (steps_in(tmp_path), read_journal(path).is_cut_off) == ([0, 1, 2, 3], False)


def test_a_stage_that_starts_over_starts_an_empty_file(tmp_path: Path) -> None:
    write_steps(tmp_path, range(3)).close()
    LedgerJournal(tmp_path, first_step=0).close()
    assert (tmp_path / "ledger.jsonl").read_bytes() == b""
    assert read_journal(tmp_path / "ledger.jsonl") == ([], [], False)


def test_a_line_that_is_none_of_ours_is_told_and_stays(tmp_path: Path) -> None:
    write_steps(tmp_path, range(2)).close()
    path = tmp_path / "ledger.jsonl"
    first, second = path.read_text().splitlines()
    others = ["{", '{"step": 0}', second.replace('"issued": 2', '"issued": "2"'), "", "\ufffd[]"]
    path.write_text("\n".join([first, *others, second]) + "\n")
    found = read_journal(path)
    assert [line.step for line in found.lines] == [0, 1]
    assert [text.partition(":")[0] for text in found.unreadable] == ["line 2", "line 3", "line 4", "line 5", "line 6"]
    assert "issued: Input should be a valid integer" in found.unreadable[2]
    LedgerJournal(tmp_path, first_step=1).close()
    assert len(read_journal(path).unreadable) == 5
