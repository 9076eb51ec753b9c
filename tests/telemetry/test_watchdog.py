"""The watchdog on a clock of its own: what it tells, when, and when it keeps quiet; and what a report says."""

from __future__ import annotations

import threading
from pathlib import Path

from test_waits import Clock

from rlpost.telemetry.stall_report import Part, StallReporter
from rlpost.telemetry.waits import Waits
from rlpost.telemetry.watchdog import Watchdog, watching


class Watched:
    """A run without parts, a clock, and when something was told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.waits = Waits(clock=self.clock)
        self.told: list[tuple[float, str]] = []
        self.dog = Watchdog(self.waits, report_after_s=120, report=self._tell, say=self._tell)

    def until(self, now_s: float) -> list[tuple[float, str]]:
        """A look every second up to this one; what was told meanwhile, with the second after the start."""
        before = len(self.told)
        while self.clock.now_s < 100 + now_s:
            self.clock.now_s += 1
            self.dog.look()
        return self.told[before:]

    def _tell(self, text: str) -> None:
        self.told.append((self.clock.now_s - 100, text))


def test_a_stall_is_reported_after_its_time_then_each_time_it_has_lasted_twice_as_long() -> None:
    run = Watched()
    assert run.until(119) == []
    assert run.until(1000) == [
        (120, "the run has made no progress for 120 s"),
        (240, "the run has made no progress for 240 s"),
        (480, "the run has made no progress for 480 s"),
        (960, "the run has made no progress for 960 s"),
    ]


def test_progress_keeps_it_quiet_and_its_return_is_told() -> None:
    run = Watched()
    for second in range(100, 1000, 100):
        assert run.until(second) == []
        run.waits.note("responses")
    assert run.until(1019) == []
    assert run.until(1020) == [(1020, "the run has made no progress for 120 s")]
    run.until(1030)
    run.waits.note("verdicts")
    assert run.until(1031) == [(1031, "the run moves again after 130 s: verdicts")]


def test_steps_that_take_long_are_reported_once() -> None:
    run = Watched()
    run.until(200)
    run.waits.note("the learner (step)")
    assert run.told == [(120, "the run has made no progress for 120 s")]
    for second in range(400, 2000, 200):
        run.until(second)
        run.waits.note("the learner (step)")
    assert [text for _, text in run.told[1:]] == ["the run moves again after 200 s: the learner (step)"]
    assert run.until(1800 + 401)[-1] == (1800 + 400, "the run has made no progress for 400 s")


def test_a_stall_that_ended_because_a_part_was_replaced_makes_it_no_more_patient() -> None:
    run = Watched()
    run.until(1000)
    run.waits.note("new learner ranks were asked for", by_itself=False)
    assert run.until(1121)[-1] == (1120, "the run has made no progress for 120 s")


def test_a_pause_that_was_told_of_is_no_stall() -> None:
    run = Watched()
    run.until(50)
    with run.waits.pause("judge to be back", timeout_s=1000), run.waits.until("verdicts"):
        assert run.until(900) == []
    assert run.until(1019) == []
    assert run.until(1020) == [(1020, "the run has made no progress for 120 s")]


def test_a_report_names_waits_progress_parts_and_the_drivers_stacks(tmp_path: Path) -> None:
    clock = Clock()
    waits, said, ended = Waits(clock=clock), list[str](), threading.Event()

    def waits_for_a_friend() -> None:
        with waits.until("a friend", timeout_s=500):
            ended.wait(10)

    thread = threading.Thread(target=waits_for_a_friend, name="collector")
    thread.start()
    while not waits.open():
        pass
    clock.now_s += 130
    part = Part("rollout actor rollout-0", "serving, 3 requests", "  thread engine\n    forward (model.py:12)")
    reporter = StallReporter(waits, folder=tmp_path / "run" / "stalls", look=lambda: [part], say=said.append)
    path = reporter.report("the run has made no progress for 130 s")
    ended.set()
    thread.join()
    assert path is not None and Path(path).parent == tmp_path / "run" / "stalls"
    text = Path(path).read_text()
    for words in (
        "the run has made no progress for 130 s",
        "last progress: the start, 130 s ago",
        "collector waits for a friend: for 130 s, since ",
        "rollout actor rollout-0: serving, 3 requests",
        "forward (model.py:12)",
        "thread collector",
        "waits_for_a_friend",
    ):
        assert words in text, f"{words!r} is not in\n{text}"
    headline, wait, last, where = said[0].splitlines()
    assert headline == "the run has made no progress for 130 s" and where.endswith(path)
    assert wait.startswith("  collector waits for a friend: for 130 s") and last.startswith("  last progress")
    assert "model.py" not in said[0]


def test_a_report_that_cannot_be_written_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "stalls").write_text("in the way")
    said: list[str] = []
    reporter = StallReporter(Waits(), folder=tmp_path / "stalls", look=list, say=said.append)
    assert reporter.report("no progress") is None
    assert "the report could not be written: " in said[0]


def test_a_run_is_watched_on_a_thread_for_the_length_of_the_block(tmp_path: Path) -> None:
    waits, said, told = Waits(), list[str](), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        told.set()

    with watching(waits, report_after_s=0.05, folder=tmp_path, look=list, say=say):
        assert told.wait(10)
        assert waits.report("a deadline has passed") is not None
    assert "the run has made no progress" in said[0]
    assert len(list(tmp_path.glob("*Z.txt"))) >= 2
    assert waits.report("nobody watches any more") is None
