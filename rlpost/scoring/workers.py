"""Warm verifier processes that are killed, never abandoned, when a sample passes its deadline.

A `WorkerProcess` serves one verifier. It receives samples in small batches and returns verdicts one by one. The
deadline of a sample is counted from the previous verdict, which is when the worker starts on it. At the deadline the
worker's process group gets SIGKILL, that sample alone gets a policy fault, and a fresh process judges the rest. If one
call judges several samples, the deadline applies to the call; `rlpost.scoring.calls` decides which samples then get the
fault.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import queue
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from rlpost.errors import RewardError
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.calls import Answer, blame, calls_of, follow
from rlpost.scoring.guarded import at_floor
from rlpost.scoring.worker_main import OUT_OF_MEMORY_EXIT
from rlpost.scoring.worker_messages import (
    Batch,
    ReplyNumber,
    StrayReplyError,
    WorkerOrder,
    decode_count,
    decode_verdict,
)

START_TIMEOUT_S = 60.0
"""Longest wait for a worker to import its verifier."""
REAP_TIMEOUT_S = 10.0
"""Longest wait for a killed process to be gone."""
SAMPLES_PER_PROCESS = 10_000
"""A worker is replaced after this many samples, so that memory leaked by a library never reaches the memory limit."""
BUSY_S_PER_PROCESS = 600.0
"""A worker is also replaced after judging for this long, so that no honest worker comes near its processor-time
limit."""
CPU_PER_BUSY_S = 4.0
"""Seconds of processor time allowed for each second that a worker may judge before it is replaced."""
LARGEST_BATCH = 32
LONGEST_REPLY = 2**20
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    **dict.fromkeys(("RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
}
"""The cluster file sets the number of workers; a library that used all cores would starve learner and engines."""
KILLED_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT, -signal.SIGBUS)
"""Exit codes of a process that was killed from outside, for example by the kernel when the machine has no memory left,
or no space for the pages of a file in memory (SIGBUS)."""


class WorkerStartError(Exception):
    """A worker process did not become ready; the message says why."""


class WorkerProcess:
    """One process that runs one verifier. It starts when first needed, and again after each kill.

    The kernel kills the process when the thread that started it ends, so use it only from threads that outlive it.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._received = b""
        self._batches = 0
        self._served = 0
        self._busy_s = 0.0

    @property
    def pid(self) -> int | None:
        """The id of the running process, which leads its own process group; None if it is not running."""
        return None if self._process is None else self._process.pid

    def judge(self, samples: Sequence[Sample], *, params: Mapping[str, Any], timeout_s: float) -> list[Verdict]:
        """Judge at least the first of these samples; the list is short if a sample killed the process.

        Raises:
            WorkerStartError: no process could be started.
            RewardError: the verifier broke its contract.
        """
        self._ensure_running(timeout_s)
        began = time.monotonic()
        verdicts: list[Verdict] = []
        try:
            self._send_batch(samples, params, timeout_s)
            while len(verdicts) < len(samples):
                line = self._line(deadline=time.monotonic() + timeout_s)
                verdicts.append(decode_verdict(line, number=self._number(len(verdicts))))
        except TimeoutError:
            verdicts.append(self._verdict_at_deadline(timeout_s))
        except (EOFError, ConnectionError):
            verdicts.append(self._verdict_on_death())
        except StrayReplyError as error:
            verdicts.append(self._verdict_on_stray_reply(error))
        except RewardError:
            self.kill()
            raise
        self._note_work(len(verdicts), began)
        return verdicts

    def judge_together(self, samples: Sequence[Sample], *, params: Mapping[str, Any], timeout_s: float) -> Answer:
        """Judge all of these samples in one call of at most `timeout_s`.

        Raises:
            WorkerStartError: no process could be started.
            RewardError: the verifier broke its contract.
        """
        self._ensure_running(timeout_s)
        began = time.monotonic()
        try:
            self._send_batch(samples, params, timeout_s)
            count = decode_count(self._line(deadline=time.monotonic() + timeout_s), number=self._number(0))
            verdicts = [
                decode_verdict(self._line(deadline=time.monotonic() + timeout_s), number=self._number(place))
                for place in range(1, count + 1)
            ]
        except TimeoutError:
            return self._verdict_at_deadline(timeout_s)
        except (EOFError, ConnectionError):
            return self._verdict_on_death()
        except StrayReplyError as error:
            return self._verdict_on_stray_reply(error)
        except RewardError:
            self.kill()
            raise
        self._note_work(len(samples), began)
        return verdicts if count == len(samples) else verdicts[0]

    def kill(self) -> None:
        """Kill the process and everything that it started; do nothing if it is not running."""
        if self._process is None:
            return
        assert self._socket is not None
        if self._process.returncode is None:  # the id of a process that was waited for may be another's by now
            _kill_descendants(self._process.pid)
        with contextlib.suppress(ProcessLookupError):  # the whole group may have ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(REAP_TIMEOUT_S)
        self._socket.close()
        self._process, self._socket, self._received = None, None, b""
        self._served, self._busy_s = 0, 0.0

    def _ensure_running(self, timeout_s: float) -> None:
        is_old = self._served >= SAMPLES_PER_PROCESS or self._busy_s >= BUSY_S_PER_PROCESS
        if self._process is not None and (is_old or self._process.poll() is not None or self._has_leftovers()):
            self.kill()
        if self._process is None:
            self._start(timeout_s)

    def _has_leftovers(self) -> bool:
        """Whether the process sent more than the replies to its last batch, or closed its socket."""
        assert self._socket is not None
        return bool(self._received or select.select([self._socket], [], [], 0)[0])

    def _number(self, place: int) -> ReplyNumber:
        return ReplyNumber(self._batches, place)

    def _note_work(self, samples: int, began: float) -> None:
        if self._process is not None:
            self._served += samples
            self._busy_s += time.monotonic() - began

    def _start(self, timeout_s: float) -> None:
        spec = self._verifier.spec
        try:
            self._socket, self._process = _spawn()
        except OSError as error:
            raise WorkerStartError(f"the worker of {spec.name} did not start: {error}") from error
        # A worker just below the age limit may still be given a whole batch.
        busy_s = BUSY_S_PER_PROCESS + LARGEST_BATCH * max(timeout_s, spec.timeout_s)
        order = WorkerOrder(
            reference=self._verifier.reference,
            memory_mib=spec.memory_mib,
            cpu_s=int(START_TIMEOUT_S + CPU_PER_BUSY_S * busy_s),
            parent_pid=os.getpid(),
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            self._send(pickle.dumps(order), deadline=deadline)
            answer = json.loads(self._line(deadline=deadline))
        except TimeoutError:
            answer = {"start_error": f"not ready after {START_TIMEOUT_S:g} s"}
        except (EOFError, ConnectionError):
            answer = {"start_error": f"ended with exit code {self._process.wait(REAP_TIMEOUT_S)} at its start"}
        if "start_error" in answer:
            self.kill()
            raise WorkerStartError(f"the worker of {spec.name} did not start: {answer['start_error']}")

    def _send_batch(self, samples: Sequence[Sample], params: Mapping[str, Any], timeout_s: float) -> None:
        self._batches += 1
        batch = Batch(number=self._batches, samples=tuple(samples), params=dict(params))
        self._send(pickle.dumps(batch), deadline=time.monotonic() + timeout_s)

    def _send(self, payload: bytes, *, deadline: float) -> None:
        assert self._socket is not None
        self._socket.settimeout(_remaining(deadline))
        self._socket.sendall(payload)

    def _line(self, *, deadline: float) -> bytes:
        assert self._socket is not None
        while b"\n" not in self._received:
            if len(self._received) > LONGEST_REPLY:  # a worker cuts long texts before it replies
                raise StrayReplyError(f"expected lines of at most {LONGEST_REPLY} bytes, found a longer one")
            self._socket.settimeout(_remaining(deadline))
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise EOFError
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _verdict_at_deadline(self, timeout_s: float) -> Verdict:
        self.kill()
        return self._broken(Fault.POLICY, f"timed out after {timeout_s:g} s", timeout_s * 1000)

    def _verdict_on_death(self) -> Verdict:
        assert self._process is not None
        exit_code = self._process.wait(REAP_TIMEOUT_S)
        self.kill()
        if exit_code in KILLED_FROM_OUTSIDE:
            return self._broken(Fault.INFRA, f"the worker was killed from outside (exit code {exit_code})", 0.0)
        if exit_code == OUT_OF_MEMORY_EXIT:
            return self._broken(Fault.POLICY, f"ran out of memory ({self._verifier.spec.memory_mib} MiB)", 0.0)
        return self._broken(Fault.POLICY, f"crashed the worker (exit code {exit_code})", 0.0)

    def _verdict_on_stray_reply(self, error: StrayReplyError) -> Verdict:
        self.kill()
        name = self._verifier.spec.name
        return self._broken(Fault.INFRA, f"the process of {name} wrote among its replies: {error}", 0.0)

    def _broken(self, fault: Fault, reason: str, milliseconds: float) -> Verdict:
        verdict = Verdict(fault=fault, reason=reason, version=self._verifier.spec.stamp, milliseconds=milliseconds)
        return at_floor(verdict, self._verifier)


class WorkerPool:
    """Several processes of one verifier, with one thread for each. Thread-safe."""

    def __init__(self, verifier: Verifier, *, workers: int) -> None:
        self._verifier = verifier
        self._workers = [WorkerProcess(verifier) for _ in range(workers)]
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        # A process dies with the thread that started it, so these threads live until `close`.
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=f"scoring-{verifier.spec.name}")

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that are running now."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def judge(self, samples: Sequence[Sample], *, params: Mapping[str, Any], timeout_s: float) -> list[Verdict]:
        """Return one verdict per sample, in the same order.

        Raises:
            RewardError: the verifier broke its contract.
        """
        batches = self._batches(samples)
        no_start: list[str] = []

        def run(places: list[int]) -> list[Verdict]:
            batch = [samples[place] for place in places]
            return self._judge_batch(batch, params=params, timeout_s=timeout_s, no_start=no_start)

        judged: dict[int, Verdict] = {}
        for places, verdicts in zip(batches, self._threads.map(run, batches), strict=True):
            judged.update(zip(places, verdicts, strict=True))
        return [judged[place] for place in range(len(samples))]

    def close(self) -> None:
        """Kill the processes; call it only when no `judge` is running."""
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.kill()

    def _batches(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Group the positions of the samples into batches, each for one worker at a time."""
        spec = self._verifier.spec
        if spec.per != "sample":
            return calls_of(spec, samples, most=-(-len(samples) // len(self._workers)))
        size = max(1, min(LARGEST_BATCH, len(samples) // (2 * len(self._workers))))
        return [list(range(start, min(start + size, len(samples)))) for start in range(0, len(samples), size)]

    def _judge_batch(
        self, samples: Sequence[Sample], *, params: Mapping[str, Any], timeout_s: float, no_start: list[str]
    ) -> list[Verdict]:
        verdicts: list[Verdict] = []
        worker = self._idle.get()
        try:
            if self._verifier.spec.per != "sample" and not no_start:
                call = partial(worker.judge_together, params=params, timeout_s=timeout_s)
                verdicts = follow(blame(self._verifier.spec, samples), call)
            while len(verdicts) < len(samples) and not no_start:
                verdicts += worker.judge(samples[len(verdicts) :], params=params, timeout_s=timeout_s)
        except WorkerStartError as error:
            no_start.append(str(error))  # the other batches of this call do not run into the same failure
        finally:
            self._idle.put(worker)
        missing = len(samples) - len(verdicts)
        if missing:
            stamp = self._verifier.spec.stamp
            fault = Verdict(fault=Fault.INFRA, reason=no_start[0], marks=(Mark.PERMANENT,), version=stamp)
            verdicts += [fault] * missing
        return verdicts


def _spawn() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = map(_above_standard_descriptors, socket.socketpair())
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rlpost.scoring.worker_main", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=2,  # the verifier's prints are for a person; verdicts travel over the socket
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
    return ours, process


def _kill_descendants(process_id: int) -> None:
    """Kill the processes below this one, also those of other sessions; it stays stopped meanwhile.

    A worker adopts the orphans among its descendants, so that they are found here.
    """
    found, waiting = [], [process_id]
    while waiting:
        one = waiting.pop()
        try:
            os.kill(one, signal.SIGSTOP)  # from now on it starts no other
            children = [path.read_text(encoding="ascii") for path in Path(f"/proc/{one}/task").glob("*/children")]
        except (ProcessLookupError, PermissionError, FileNotFoundError):  # it ended, or belongs to the sandbox's user
            continue
        waiting += map(int, " ".join(children).split())
        found.append(one)
    for one in found[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _above_standard_descriptors(end: socket.socket) -> socket.socket:
    """Move a socket off descriptors 0 to 2, which the system hands out when a program was started without them."""
    with end:
        return socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def _remaining(deadline: float) -> float:
    """Return the seconds left, always above 0, because `settimeout(0)` would mean not to wait at all.

    Raises:
        TimeoutError: the deadline has passed.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
