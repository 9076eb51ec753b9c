"""The registry of waits: who waits for whom since when, and a report for a deadline that passes."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import Future

import pytest

from rlpost.errors import ClusterError, DeadlineError
from rlpost.telemetry.waits import WAITS, Waits, result_of


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_wait_is_known_with_its_owner_its_beginning_and_its_deadline_until_it_ends() -> None:
    clock = Clock()
    waits, waiting, go_on = Waits(clock=clock), threading.Event(), threading.Event()

    def wait() -> None:
        with waits.until("rollout-0", timeout_s=30):
            waiting.set()
            go_on.wait(10)

    thread = threading.Thread(target=wait, name="weight sync")
    thread.start()
    assert waiting.wait(10)
    clock.now_s = 105.0
    with waits.until("the learner", since_s=90.0, timeout_s=20) as own:
        own.extend(60)
        found = [(wait.owner, wait.awaited, wait.since_s, wait.deadline_s) for wait in waits.open()]
        assert found == [("driver", "the learner", 90.0, 165.0), ("weight sync", "rollout-0", 100.0, 130.0)]
    go_on.set()
    thread.join()
    assert waits.open() == []


def test_a_deadline_that_passes_is_reported_once_while_its_wait_is_still_known() -> None:
    waits, reported = Waits(), list[list[str]]()

    def report(headline: str) -> str:
        reported.append([headline, *(wait.awaited for wait in waits.open())])
        return "run/stalls/1.txt"

    waits.on_overdue = report
    with (
        pytest.raises(DeadlineError, match=r"^too late\nStall report: run/stalls/1\.txt$") as caught,
        waits.until("the stage"),
        waits.until("rollout-0"),
    ):
        raise DeadlineError("too late")
    assert [entry[0] for entry in reported] == ["too late"]
    assert sorted(reported[0][1:]) == ["rollout-0", "the stage"]
    assert waits.open() == []
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_other_errors_and_deadlines_that_nobody_watches_pass_as_they_are() -> None:
    waits = Waits()
    with pytest.raises(DeadlineError, match=r"^too late$"), waits.until("rollout-0"):
        raise DeadlineError("too late")
    waits.on_overdue = lambda headline: pytest.fail("no deadline has passed")
    with pytest.raises(ClusterError, match="gone"), waits.until("rollout-0"):
        raise ClusterError("gone")
    assert waits.open() == []


def test_a_result_that_does_not_come_is_a_deadline_and_one_that_fails_keeps_its_error() -> None:
    with pytest.raises(DeadlineError, match=r"weights 3 must be there within 0\.01 s"):
        result_of(Future[int](), "weights 3", timeout_s=0.01)
    failed, done = Future[int](), Future[int]()
    failed.set_exception(DeadlineError("the engines did not pull"))
    with pytest.raises(DeadlineError, match="the engines did not pull"):
        result_of(failed, "weights 3", timeout_s=0.01)
    done.set_result(7)
    assert result_of(done, "weights 3", timeout_s=0.01) == 7
    assert WAITS.open() == []
