"""Resubmits a job whose command can resume, while the run makes progress. Knows nothing of Ray."""

from __future__ import annotations

import signal
from collections.abc import Callable, Set
from typing import Any, NamedTuple, Protocol

from rlpost.errors import GateError, PreemptedError, RecipeError, UnavailableError

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0

INTERRUPTED = 128 + signal.SIGINT
_WORDS = {
    PreemptedError.exit_code: "was stopped by SIGTERM, with a checkpoint",
    UnavailableError.exit_code: "lost parts of its cluster",
    RecipeError.exit_code: "was refused",
    GateError.exit_code: "did not reach the bound of a stage",
    INTERRUPTED: "was interrupted",
}
_GOES_ON = (PreemptedError.exit_code, UnavailableError.exit_code)


class JobEnd(NamedTuple):
    """The outcome of a job."""

    exit_code: int | None
    """Exit code of its driver, negative for a signal; None if the job server does not know it."""
    stopped: bool
    """Whether a user stopped it through the job server."""
    said: str
    """The job server's own message, in one line; used if there is no exit code."""

    @property
    def status(self) -> int:
        """The exit code as a shell would report it; a job whose end is unknown counts as lost by the cluster."""
        if self.stopped:
            return INTERRUPTED
        if self.exit_code is None:
            return UnavailableError.exit_code
        return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code

    @property
    def goes_on(self) -> bool:
        """Whether the same command can be expected to resume: the driver was killed or stopped, and did not fail."""
        return self.status in _GOES_ON or (bool(_killed_by(self.status)) and self.status != INTERRUPTED)

    def __str__(self) -> str:
        if self.stopped:
            return "was stopped"
        if self.exit_code is None:
            return f"was lost ({self.said})"
        if self.status == 0:
            return "finished"
        return f"{_WORDS.get(self.status) or _killed_by(self.status) or 'failed'} (exit code {self.status})"


def _killed_by(status: int) -> str:
    names = {128 + number: number.name for number in signal.Signals}
    return f"was killed by {names[status]}" if status in names else ""


class Jobs(Protocol):
    """A job server."""

    def submit(self, entry: str) -> str:
        """Start a shell command as a job, and return the job's id."""
        ...

    def follow(self, job_id: str) -> JobEnd:
        """Show the job's log until the job ends."""
        ...

    def hints(self, job_id: str) -> str:
        """Return instructions for following and stopping the job."""
        ...


def run_to_end(
    jobs: Jobs,
    entry: str,
    *,
    retries: int,
    marks: Callable[[], Set[Any]],
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> int:
    """Run the command as a job, and resubmit it when its driver is killed; return the exit code of the last driver.

    `retries` limits the number of consecutive submissions without progress, that is, with nothing new in `marks`.

    Raises:
        UnavailableError: the job server does not accept the first submission.
    """
    attempt, used = 1, 0
    while True:
        before = marks()
        name, end = _attempt(jobs, entry, first=attempt == 1, say=say)
        if not end.goes_on or retries == 0:
            say(f"{name} {end}")
            return end.status
        used = 0 if marks() - before else used
        if used == retries:
            tries = "1 retry" if retries == 1 else f"{retries} retries"
            say(f"{name} {end}; given up: {tries} in a row brought no newer checkpoint and no finished stage")
            return end.status
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**used)
        attempt, used = attempt + 1, used + 1
        say(f"{name} {end}; submitted again in {pause_s:g} s: attempt {attempt}, retry {used} of {retries}")
        sleep(pause_s)


def _attempt(jobs: Jobs, entry: str, *, first: bool, say: Callable[[str], None]) -> tuple[str, JobEnd]:
    """Make one submission, and return its name and its outcome."""
    try:
        job_id = jobs.submit(entry)
    except UnavailableError as error:
        if first:
            raise
        return "the job", JobEnd(exit_code=None, stopped=False, said=str(error))
    name = f"job {job_id}"
    say(f"{name} is submitted; {jobs.hints(job_id)}")
    try:
        return name, jobs.follow(job_id)
    except KeyboardInterrupt:
        say(f"\n{name} goes on without this command; {jobs.hints(job_id)}")
        raise
