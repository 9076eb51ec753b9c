"""Which ends of a job are followed by another submission, how often, after which pause, and what a person is told."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

import pytest

from rlpost.cluster.resubmission import JobEnd, run_to_end
from rlpost.errors import UnavailableError

ENTRY = "bash -c 'cd here && exec rlpost run recipe.yaml'"
SIGTERM_SAVED, KILLED, PARTS_LOST = 75, 137, 69


def ended(exit_code: int | None, *, stopped: bool = False, said: str = "") -> JobEnd:
    return JobEnd(exit_code=exit_code, stopped=stopped, said=said)


class ScriptedJobs:
    """A job server whose jobs end as the script says; a text in it is a submission that is not taken."""

    def __init__(self, script: Sequence[JobEnd | str | Callable[[], JobEnd]]) -> None:
        self._script = list(script)
        self.running: str | None = None
        self.submitted: list[str] = []

    def submit(self, entry: str) -> str:
        assert entry == ENTRY, "every submission is of the same command"
        assert self.running is None, "a run has one driver at a time"
        assert self._script, "nothing more was to be submitted"
        if isinstance(self._script[0], str):
            raise UnavailableError(str(self._script.pop(0)))
        self.running = f"job{len(self.submitted) + 1}"
        self.submitted.append(self.running)
        return self.running

    def follow(self, job_id: str) -> JobEnd:
        assert job_id == self.running, "only a running job is followed"
        end = self._script.pop(0)
        assert not isinstance(end, str)
        end = end if isinstance(end, JobEnd) else end()
        self.running = None
        return end

    def hints(self, job_id: str) -> str:
        return f"stop it with: stop {job_id}"


class Watched:
    """What a call of `run_to_end` did."""

    def __init__(self, script: Sequence[JobEnd | str | Callable[[], JobEnd]], *, retries: int) -> None:
        self.jobs, self.folder = ScriptedJobs(script), set[str]()
        self.said: list[str] = []
        self.pauses_s: list[float] = []
        self.retries = retries

    def run(self) -> int:
        return run_to_end(
            self.jobs,
            ENTRY,
            retries=self.retries,
            marks=lambda: frozenset(self.folder),
            say=self.said.append,
            sleep=self.pauses_s.append,
        )

    def after(self, checkpoint: str, end: JobEnd) -> Callable[[], JobEnd]:
        """The job writes a checkpoint, and the older one goes, before it ends."""

        def work() -> JobEnd:
            self.folder = {checkpoint}
            return end

        return work


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ended(SIGTERM_SAVED), "was stopped by SIGTERM, with a checkpoint (exit code 75)"),
        (ended(PARTS_LOST), "lost parts of its cluster (exit code 69)"),
        (ended(KILLED), "was killed by SIGKILL (exit code 137)"),
        (ended(-signal.SIGKILL), "was killed by SIGKILL (exit code 137)"),
        (ended(-signal.SIGTERM), "was killed by SIGTERM (exit code 143)"),
        (ended(None, said="Job supervisor actor died: node 7"), "was lost (Job supervisor actor died: node 7)"),
    ],
)
def test_a_job_that_was_taken_away_is_submitted_again_and_the_last_exit_code_counts(end: JobEnd, words: str) -> None:
    watched = Watched([end, ended(0)], retries=1)
    assert watched.run() == 0
    assert watched.jobs.submitted == ["job1", "job2"]
    assert watched.said == [
        "job job1 is submitted; stop it with: stop job1",
        f"job job1 {words}; submitted again in 5 s: attempt 2, retry 1 of 1",
        "job job2 is submitted; stop it with: stop job2",
        "job job2 finished",
    ]


@pytest.mark.parametrize(
    ("end", "exit_code", "words"),
    [
        (ended(0), 0, "finished"),
        (ended(1), 1, "failed (exit code 1)"),
        (ended(2), 2, "was refused (exit code 2)"),
        (ended(3), 3, "did not reach the bound of a stage (exit code 3)"),
        (ended(126), 126, "failed (exit code 126)"),
        (ended(255), 255, "failed (exit code 255)"),
        (ended(130), 130, "was interrupted (exit code 130)"),
        (ended(-signal.SIGINT), 130, "was interrupted (exit code 130)"),
        (ended(None, stopped=True), 130, "was stopped"),
    ],
)
def test_a_job_that_ended_by_itself_or_by_hand_is_not_submitted_again(end: JobEnd, exit_code: int, words: str) -> None:
    watched = Watched([end], retries=5)
    assert watched.run() == exit_code
    assert watched.said[1:] == [f"job job1 {words}"]


@pytest.mark.parametrize(("end", "exit_code"), [(ended(KILLED), 137), (ended(75), 75), (ended(None), 69)])
def test_without_retries_there_is_one_submission_and_its_exit_code(end: JobEnd, exit_code: int) -> None:
    watched = Watched([end], retries=0)
    assert watched.run() == exit_code
    assert "again" not in watched.said[-1] and "given up" not in watched.said[-1]


def test_retries_without_progress_are_counted_and_the_pause_grows_to_a_minute() -> None:
    watched = Watched([ended(KILLED)] * 7, retries=6)
    assert watched.run() == 137
    assert watched.pauses_s == [5, 10, 20, 40, 60, 60]
    assert watched.said[-1] == (
        "job job7 was killed by SIGKILL (exit code 137); given up: 6 retries in a row brought no newer checkpoint and "
        "no finished stage"
    )


def test_progress_gives_the_retries_back() -> None:
    watched = Watched([], retries=1)
    watched.jobs = ScriptedJobs(
        [
            watched.after("step-1", ended(KILLED)),
            watched.after("step-2", ended(KILLED)),
            watched.after("step-3", ended(SIGTERM_SAVED)),
            ended(KILLED),
        ]
    )
    assert watched.run() == 137
    assert watched.jobs.submitted == ["job1", "job2", "job3", "job4"]
    assert watched.pauses_s == [5, 5, 5]


def test_a_folder_that_only_lost_something_is_no_progress() -> None:
    watched = Watched([ended(KILLED), ended(KILLED)], retries=1)
    watched.folder = {"step-1", "step-2"}
    first = watched.jobs.follow

    def follow(job_id: str) -> JobEnd:
        watched.folder.discard("step-1")
        return first(job_id)

    watched.jobs.follow = follow
    assert watched.run() == 137
    assert len(watched.jobs.submitted) == 2


def test_a_job_server_that_is_away_at_a_retry_costs_a_retry_and_at_the_start_is_an_error() -> None:
    watched = Watched([ended(KILLED), "nobody answers", ended(0)], retries=2)
    assert watched.run() == 0
    assert watched.said[2] == "the job was lost (nobody answers); submitted again in 10 s: attempt 3, retry 2 of 2"
    with pytest.raises(UnavailableError, match="nobody answers"):
        Watched(["nobody answers"], retries=2).run()


def test_ctrl_c_leaves_the_job_and_says_how_to_stop_it() -> None:
    def interrupt() -> JobEnd:
        raise KeyboardInterrupt

    watched = Watched([interrupt], retries=3)
    with pytest.raises(KeyboardInterrupt):
        watched.run()
    assert watched.jobs.running == "job1"
    assert watched.said[-1] == "\njob job1 goes on without this command; stop it with: stop job1"
