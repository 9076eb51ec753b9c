"""A job is followed to its end over a job server that breaks connections, falls silent, or forgets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from rlpost.cluster import jobs
from rlpost.cluster.jobs import RayJobs
from rlpost.cluster.resubmission import JobEnd
from rlpost.errors import UnavailableError

ADDRESS = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {
        "ANSWER_TIMEOUT_S": 0.2,
        "START_TIMEOUT_S": 0.2,
        "SILENCE_TIMEOUT_S": 0.6,
        "ASK_EVERY_S": 0.02,
        "LAST_WORDS_S": 2.0,
        "RESTING_S": 0.01,
    }.items():
        monkeypatch.setattr(jobs, name, seconds)


def details(status: JobStatus, *, exit_code: int | None = None, message: str | None = None) -> Any:
    return SimpleNamespace(status=status, driver_exit_code=exit_code, message=message)


RUNNING = details(JobStatus.RUNNING)


class FakeClient:
    """Ray's client: `log` is what the job wrote, `answers` what is told of its state, the last of them for ever."""

    def __init__(self, *answers: Any, log: str = "", breaks_after: int | None = None, refusals: int = 0) -> None:
        self._answers, self._log, self._breaks_after = list(answers), log, breaks_after
        self._refusals = refusals
        self.asked = 0
        self.submitted: list[str] = []

    def submit_job(self, *, entrypoint: str) -> str:
        assert isinstance(entrypoint, str) and entrypoint
        if self._refusals:
            self._refusals -= 1
            raise RuntimeError("Request failed with status code 500: No available agent to submit job, try again.")
        self.submitted.append(entrypoint)
        return f"raysubmit_{len(self.submitted)}"

    def get_job_info(self, job_id: str) -> Any:
        assert job_id == f"raysubmit_{len(self.submitted)}"
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer() if callable(answer) else answer

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        assert job_id == f"raysubmit_{len(self.submitted)}"
        breaks_after, self._breaks_after = self._breaks_after, None
        for place in range(0, len(self._log), 3):
            if breaks_after is not None and place >= breaks_after:
                raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")
            await asyncio.sleep(0)
            yield self._log[place : place + 3]


def follow(client: FakeClient) -> tuple[JobEnd, str]:
    shown: list[str] = []
    server = RayJobs(ADDRESS, connect=lambda address: client, show=shown.append)
    end = server.follow(server.submit("rlpost run recipe.yaml"))
    return end, "".join(shown)


def raising(error: Exception) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it


def test_the_log_is_shown_whole_and_the_drivers_exit_code_is_the_end() -> None:
    client = FakeClient(
        RUNNING, details(JobStatus.FAILED, exit_code=3, message="ended with 3\nand more"), log="a\nb\nc"
    )
    end, shown = follow(client)
    assert end == JobEnd(exit_code=3, stopped=False, said="ended with 3")
    assert shown == "a\nb\nc"


def test_a_log_that_breaks_off_goes_on_where_it_was_and_no_line_is_shown_twice() -> None:
    log = "one\ntwo\nthree\nfour\n"
    done = details(JobStatus.SUCCEEDED, exit_code=0)
    end, shown = follow(FakeClient(RUNNING, RUNNING, RUNNING, RUNNING, done, log=log, breaks_after=7))
    assert end.exit_code == 0
    assert shown == log


def test_a_job_stopped_by_hand_and_one_whose_node_died_have_no_exit_code() -> None:
    stopped, _ = follow(FakeClient(details(JobStatus.STOPPED, message="Job was intentionally stopped.")))
    assert stopped == JobEnd(exit_code=None, stopped=True, said="Job was intentionally stopped.")
    lost, _ = follow(FakeClient(details(JobStatus.FAILED, message="Job supervisor actor died: x\nmore")))
    assert lost == JobEnd(exit_code=None, stopped=False, said="Job supervisor actor died: x")


def test_a_server_that_is_away_for_a_while_is_asked_again() -> None:
    away = raising(ConnectionError("refused"))
    end, _ = follow(FakeClient(away, away, away, details(JobStatus.SUCCEEDED, exit_code=0)))
    assert end.exit_code == 0


@pytest.mark.parametrize("silence", [raising(ConnectionError("refused")), lambda: time.sleep(30)])
def test_a_server_that_stays_silent_is_given_up_after_a_while(silence: Callable[[], Any]) -> None:
    started = time.monotonic()
    end, _ = follow(FakeClient(silence))
    assert end.exit_code is None and not end.stopped
    assert f"the job server at {ADDRESS} was asked about it for 1 s" in end.said
    assert 0.5 < time.monotonic() - started < 5


def test_a_new_head_that_does_not_know_the_job_is_believed_at_once() -> None:
    client = FakeClient(raising(RuntimeError("Request failed with status code 404: Job raysubmit_1 does not exist.")))
    end, _ = follow(client)
    assert end.exit_code is None and "does not exist" in end.said
    assert client.asked == 1


def test_a_job_server_that_takes_no_job_is_an_error_that_says_what_to_do() -> None:
    def connect(address: str) -> FakeClient:
        raise ConnectionError(f"Failed to connect to Ray at address: {address}.")

    server = RayJobs(ADDRESS, connect=connect, show=print)
    with pytest.raises(UnavailableError, match=r"found Failed to connect to Ray.*ray start --head.*set --address"):
        server.submit("rlpost run recipe.yaml")


def test_a_cluster_that_has_just_started_is_given_time_and_one_without_nodes_is_an_error() -> None:
    client = FakeClient(details(JobStatus.SUCCEEDED, exit_code=0), refusals=3)
    assert follow(client)[0].exit_code == 0
    assert len(client.submitted) == 1
    with pytest.raises(UnavailableError, match="No available agent"):
        follow(FakeClient(refusals=10_000))
