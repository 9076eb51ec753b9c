"""Stacks of this process and of others, and no word of what they were started with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlpost.telemetry import stacks
from rlpost.telemetry.stacks import own_stacks, stacks_of

STUCK = """
import sys, threading, time
def stuck_in_a_forward_pass(secret):
    print("ready", flush=True)
    time.sleep(60)
stuck_in_a_forward_pass(sys.argv[1])
"""


@pytest.fixture
def stuck() -> Iterator[int]:
    """The pid of a process that has hung."""
    command = [sys.executable, "-S", "-c", STUCK, "--token=abc-secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def test_a_process_that_hangs_shows_where_and_nothing_of_its_arguments(stuck: int) -> None:
    text = stacks_of(stuck)
    assert "thread MainThread" in text
    assert "stuck_in_a_forward_pass (<string>:5)" in text
    assert "secret" not in text.replace("stuck_in_a_forward_pass", "")


def test_a_process_that_was_stopped_can_be_looked_at_and_stays_stopped(stuck: int) -> None:
    os.kill(stuck, signal.SIGSTOP)
    assert "stuck_in_a_forward_pass" in stacks_of(stuck)
    assert Path(f"/proc/{stuck}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_process_that_is_gone_gives_a_reason() -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    text = stacks_of(ended.pid)
    assert "py-spy could not look (looking needs root, CAP_SYS_PTRACE" in text
    assert len(text.splitlines()) == 1


def test_without_py_spy_the_report_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/python")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "py-spy is not installed" in stacks_of(os.getpid())


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, stuck: int) -> None:
    monkeypatch.setattr(stacks, "PY_SPY_TIMEOUT_S", 0.0001)
    assert "py-spy gave no answer within 0.0001 s" in stacks_of(stuck)


def test_own_stacks_name_threads_and_functions() -> None:
    text = own_stacks()
    assert "thread MainThread" in text
    assert "test_own_stacks_name_threads_and_functions" in text
