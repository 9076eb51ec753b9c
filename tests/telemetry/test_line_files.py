"""Taking back the records of steps that run again: what stays, and how much memory it takes."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from rlpost.rollout.ledger_journal import LedgerJournal
from rlpost.stages.samples import SampleLog
from rlpost.telemetry.line_files import is_before, keep_lines_while
from rlpost.telemetry.tracker import JsonlTracker

LINES = 20_000


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"", b""),
        (b"yes\nyes\n", b"yes\nyes\n"),
        (b"yes\nno\nyes\n", b"yes\n"),
        (b"yes\nyes", b"yes\n"),
        (b"no\n", b""),
    ],
)
def test_lines_stay_up_to_the_first_that_is_refused_or_cut_off(tmp_path: Path, text: bytes, kept: bytes) -> None:
    (tmp_path / "file").write_bytes(text)
    keep_lines_while(tmp_path / "file", lambda line: line.startswith(b"yes"))
    assert (tmp_path / "file").read_bytes() == kept


@pytest.mark.parametrize(
    ("text", "before"),
    [
        (b'{"step": 2}', True),
        (b'{"step": 3}', False),
        (b'{"step": "2"}', False),
        (b'{"other": 2}', False),
        (b"[2]", False),
        (b"2", False),
        (b"\xff", False),
        (b"{", False),
    ],
)
def test_what_cannot_be_read_is_not_of_an_earlier_step(text: bytes, before: bool) -> None:
    assert is_before(text, 3) is before


@pytest.mark.parametrize("what", ["metrics", "samples", "ledger"])
def test_a_long_run_goes_on_without_reading_its_files_into_memory(tmp_path: Path, what: str) -> None:
    path = tmp_path / f"{what}.jsonl"
    record = {"trained": [], "dropped": [], "issued": 0} if what == "ledger" else {"text": "x" * 500}
    path.write_text("".join(json.dumps({"step": step, **record}) + "\n" for step in range(LINES)))
    tracemalloc.start()
    try:
        match what:
            case "metrics":
                JsonlTracker(path, first_step=LINES - 5).close()
            case "samples":
                SampleLog(tmp_path, first_step=LINES - 5).close()
            case _:
                LedgerJournal(tmp_path, first_step=LINES - 5).close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(path.read_bytes().splitlines()) == LINES - 5
    assert peak < 2**20
