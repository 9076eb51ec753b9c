"""Jobs of a Ray cluster, submitted and followed through its job server."""

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
"""Timeout of one request to the job server."""
START_TIMEOUT_S = 60.0
"""Longest wait for the node that runs the job's driver to be ready."""
SILENCE_TIMEOUT_S = 300.0
"""A job whose server has not answered for this long counts as lost."""
ASK_EVERY_S = 2.0
LAST_WORDS_S = 10.0
"""Longest wait for the rest of the log of a job that has ended."""
RESTING_S = 1.0

AnswerT = TypeVar("AnswerT")


class JobClient(Protocol):
    """The part of Ray's `JobSubmissionClient` that is used here."""

    def submit_job(self, *, entrypoint: str) -> str:
        """Submit a job and return its id."""
        ...

    def get_job_info(self, job_id: str) -> Any:
        """Return Ray's `JobDetails`."""
        ...

    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """Yield the log from its first line until the job has ended."""
        ...


class RayJobs:
    """Implements `resubmission.Jobs`.

    Args:
        address: Address of the job server, for `connect` and for messages.
        connect: Makes a client; raises if no job server answers.
        show: Prints a piece of the job's log.
    """

    def __init__(self, address: str, *, connect: Callable[[str], JobClient], show: Callable[[str], None]) -> None:
        self._address, self._connect, self._show = address, connect, show
        self._client: JobClient | None = None

    def submit(self, entry: str) -> str:
        """See `Jobs`.

        Raises:
            UnavailableError: the job server does not answer, or does not accept the job.
        """
        try:
            if self._client is None:
                self._client = _answer_of(lambda: self._connect(self._address))
            return _taken_by(self._client, entry)
        except Exception as error:  # Ray and its HTTP library raise many kinds of errors.
            raise UnavailableError(
                f"the job server at {self._address} must take the job; found {_line(error)}: start a cluster with "
                "`ray start --head`, or set --address to what it printed"
            ) from error

    def follow(self, job_id: str) -> JobEnd:
        """See `Jobs`. An interrupted log is resumed where it broke off; a silent server is retried for minutes."""
        assert self._client is not None, "submit comes first"
        client, heard_s = self._client, time.monotonic()
        log = _Log(client, job_id, skip=0)
        while True:
            self._show_some(log, ASK_EVERY_S)
            try:
                details = _answer_of(lambda: client.get_job_info(job_id))
            except Exception as error:  # As in `submit`.
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
        # Ray's own command sends the token only if this variable is set.
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
    """Submit the job and return its id; a cluster that has just started may need a while before it accepts jobs."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return _answer_of(lambda: client.submit_job(entrypoint=entry))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(RESTING_S)


def connect(address: str) -> JobClient:
    """Make a client of Ray's job server; raises many kinds of errors if none answers."""
    # The client would log every connection that it closes.
    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)
    # Ray's own command reads these headers, for a server behind a gateway; its client does not.
    headers: dict[str, Any] | None = json.loads(os.environ.get("RAY_JOB_HEADERS", "null"))
    return JobSubmissionClient(address, headers=headers)


def _end_of(details: Any) -> JobEnd:
    code: int | None = details.driver_exit_code
    lines = str(details.message or "").strip().splitlines()
    return JobEnd(exit_code=code, stopped=details.status.value == "STOPPED", said=lines[0] if lines else "no reason")


class _Log:
    """A job's growing log, read on its own thread; the first `skip` characters are already known."""

    def __init__(self, client: JobClient, job_id: str, *, skip: int) -> None:
        self._client, self._job_id, self._skip = client, job_id, skip
        self._texts: queue.Queue[str | None] = queue.Queue()
        self.length = skip
        """Number of characters read so far."""
        self.ended = False
        """Whether the job ended or the connection broke off."""
        threading.Thread(target=self._follow, daemon=True).start()

    def texts(self, timeout_s: float) -> Iterator[str]:
        """Yield new text until the timeout or the end of the log."""
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
        except Exception as error:  # The later request for the job's state shows whether this matters.
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
    """Ask with a timeout, since Ray's client waits forever; a thread without an answer ends with the process.

    Raises:
        DeadlineError: there was no answer in time. Errors of the question itself are raised unchanged.
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
