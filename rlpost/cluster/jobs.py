"""Jobs of a Ray cluster through its job server: submitted, followed, and how they ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import shlex
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from ray.job_submission import JobSubmissionClient

from rlpost.cluster.resubmission import JobEnd
from rlpost.errors import DeadlineError, UnavailableError

ANSWER_TIMEOUT_S = 30.0
"""Of one question to the job server."""
START_TIMEOUT_S = 60.0
"""For the node that runs the job's driver to be there."""
SILENCE_TIMEOUT_S = 300.0
"""A job whose server answers nothing for so long is taken for lost."""
ASK_EVERY_S = 2.0
LAST_WORDS_S = 10.0
"""For the rest of the log of a job that has ended."""
RESTING_S = 1.0

AnswerT = TypeVar("AnswerT")


class JobClient(Protocol):
    """What is used of Ray's `JobSubmissionClient`."""

    def submit_job(self, *, entrypoint: str) -> str:
        """Returns the job's id."""
        ...

    def get_job_info(self, job_id: str) -> Any:
        """Ray's `JobDetails`."""
        ...

    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """The log from its first line until the job has ended."""
        ...


class RayJobs:
    """Implements `resubmission.Jobs`.

    Args:
        address: Of the job server, for `connect` and for a person.
        connect: Makes a client; raises where no job server answers.
        show: Takes the job's log, in pieces.
    """

    def __init__(self, address: str, *, connect: Callable[[str], JobClient], show: Callable[[str], None]) -> None:
        self._address, self._connect, self._show = address, connect, show
        self._client: JobClient | None = None

    def submit(self, entry: str) -> str:
        """See `Jobs`.

        Raises:
            UnavailableError: the job server does not answer, or does not take the job.
        """
        try:
            if self._client is None:
                self._client = _answer_of(lambda: self._connect(self._address))
            return _taken_by(self._client, entry)
        except Exception as error:  # Of many kinds, some of them Ray's and some of its HTTP library.
            raise UnavailableError(
                f"the job server at {self._address} must take the job; found {_line(error)}: start a cluster with "
                "`ray start --head`, or set --address to what it printed"
            ) from error

    def follow(self, job_id: str) -> JobEnd:
        """See `Jobs`. The log is read again from where it broke off; a silent server is asked again for minutes."""
        assert self._client is not None, "submit comes first"
        client, heard_s = self._client, time.monotonic()
        log = _Log(client, job_id, skip=0)
        while True:
            self._show_some(log, ASK_EVERY_S)
            try:
                details = _answer_of(lambda: client.get_job_info(job_id))
            except Exception as error:  # As in submit.
                silent_s = time.monotonic() - heard_s
                if silent_s > SILENCE_TIMEOUT_S or "status code 404" in str(error):
                    said = f"the job server at {self._address} was asked about it for {silent_s:.0f} s: {_line(error)}"
                    return JobEnd(exit_code=None, stopped=False, said=said)
                time.sleep(RESTING_S)
                continue
            heard_s = time.monotonic()
            if details.status.is_terminal():
                self._show_some(log, LAST_WORDS_S)
                return _end_of(details)
            if log.ended:
                time.sleep(RESTING_S)
                log = _Log(client, job_id, skip=log.length)

    def hints(self, job_id: str) -> str:
        """See `Jobs`."""
        # Ray's own command sends the token only when told to.
        token = "RAY_AUTH_MODE=token " if os.environ.get("RAY_AUTH_MODE") == "token" else ""
        where = f"--address {shlex.quote(self._address)}"
        return (
            f"follow it with `{token}ray job logs {where} --follow {job_id}`, stop it with "
            f"`{token}ray job stop {where} {job_id}`, which kills it 3 s later unless RAY_JOB_STOP_WAIT_TIME_S was set "
            "for `ray start`"
        )

    def _show_some(self, log: _Log, timeout_s: float) -> None:
        for text in log.texts(timeout_s):
            self._show(text)


def _taken_by(client: JobClient, entry: str) -> str:
    """The job's id; a cluster that has just started takes no jobs yet."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return _answer_of(lambda: client.submit_job(entrypoint=entry))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(RESTING_S)


def connect(address: str) -> JobClient:
    """A client of Ray's job server; raises many kinds of errors where none answers."""
    # It would tell of every connection that it closes.
    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)
    # Ray's own command reads these, for a server behind a gate; its client does not.
    headers: dict[str, Any] | None = json.loads(os.environ.get("RAY_JOB_HEADERS", "null"))
    return JobSubmissionClient(address, headers=headers)


def _end_of(details: Any) -> JobEnd:
    code: int | None = details.driver_exit_code
    lines = str(details.message or "").strip().splitlines()
    return JobEnd(exit_code=code, stopped=details.status.value == "STOPPED", said=lines[0] if lines else "no reason")


class _Log:
    """A job's log as it grows, read by a thread of its own; `skip` characters of it are known."""

    def __init__(self, client: JobClient, job_id: str, *, skip: int) -> None:
        self._client, self._job_id, self._skip = client, job_id, skip
        self._texts: queue.Queue[str | None] = queue.Queue()
        self.length = skip
        """Characters that are known."""
        self.ended = False
        """Whether it broke off, or the job ended."""
        threading.Thread(target=self._follow, daemon=True).start()

    def texts(self, timeout_s: float) -> Iterator[str]:
        """What is new, until the timeout or the log's end."""
        deadline_s = time.monotonic() + timeout_s
        while not self.ended and (left_s := deadline_s - time.monotonic()) > 0:
            try:
                text = self._texts.get(timeout=left_s)
            except queue.Empty:
                return
            self.ended = text is None
            if text:
                self.length += len(text)
                yield text

    def _follow(self) -> None:
        try:
            asyncio.run(self._read())
        except Exception as error:  # Whoever asks for the job's state learns whether it matters.
            logging.getLogger(__name__).info("the log of job %s broke off: %s", self._job_id, error)
        finally:
            self._texts.put(None)

    async def _read(self) -> None:
        seen = 0
        async for text in self._client.tail_job_logs(self._job_id):
            self._texts.put(text[max(0, self._skip - seen) :])
            seen += len(text)


class _Outcome(NamedTuple):
    answer: Any
    error: BaseException | None


def _answer_of(question: Callable[[], AnswerT]) -> AnswerT:
    """Ray's client waits for ever; the thread of a question that is never answered ends with the process.

    Raises:
        DeadlineError: there was no answer in time. Otherwise whatever the question raises.
    """
    outcomes: queue.Queue[_Outcome] = queue.Queue()

    def ask() -> None:
        try:
            outcomes.put(_Outcome(question(), None))
        except BaseException as error:
            outcomes.put(_Outcome(None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        outcome = outcomes.get(timeout=ANSWER_TIMEOUT_S)
    except queue.Empty as error:
        raise DeadlineError(f"no answer within {ANSWER_TIMEOUT_S:g} s") from error
    if outcome.error is not None:
        raise outcome.error
    return outcome.answer


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
