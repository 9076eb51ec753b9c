"""Cases in processes of their own: one that hangs, dies or eats the memory is a finding, and the others go on."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fuzz_cases import Case
from fuzz_runs import Outcome, run_case

CPU_S = 5
"""Of one case; time on the clock depends on who else uses the machine."""
CLOCK_S = 60.0
"""A case that waits and computes nothing is ended after this."""
MEMORY = 2 << 30
"""Bytes of address space that a case may add to what its libraries take."""
# What a worker needs is imported once, before it is forked.
FORK: Any = multiprocessing.get_context("fork")


@dataclass
class Worker:
    """One process, and the case that it has."""

    process: BaseProcess
    connection: Connection
    stacks: Path
    case: Case | None = None
    since: float = 0.0


def run_cases(cases: Iterable[Case], *, ground: Path, workers: int, on_outcome: Callable[[Outcome], None]) -> None:
    """All cases; outcomes in the order in which they end."""
    waiting = iter(cases)
    pool = [_started(ground, number) for number in range(workers)]
    for worker in pool:
        _give(worker, next(waiting, None))
    while any(worker.case for worker in pool):
        ready = wait([worker.connection for worker in pool if worker.case], timeout=1.0)
        for place, worker in enumerate(pool):
            if worker.case is None:
                continue
            outcome = None
            if worker.connection in ready:
                outcome = _received(worker)
            elif time.monotonic() - worker.since > CLOCK_S:
                worker.process.terminate()
                outcome = _lost(worker, f"no end after {CLOCK_S:.0f} s")
            if outcome is None:
                continue
            on_outcome(outcome)
            if not worker.process.is_alive():
                pool[place] = _started(ground, place)
            _give(pool[place], next(waiting, None))
    for worker in pool:
        worker.process.kill()
        worker.process.join()


def _started(ground: Path, number: int) -> Worker:
    here, there = FORK.Pipe()
    stacks = ground.parent / f"stacks-{number}.txt"
    process = FORK.Process(target=_serve, args=(there, ground, stacks), daemon=True)
    process.start()
    there.close()
    return Worker(process, here, stacks)


def _give(worker: Worker, case: Case | None) -> None:
    worker.case, worker.since = case, time.monotonic()
    if case is not None:
        worker.connection.send(case)


def _received(worker: Worker) -> Outcome:
    try:
        return worker.connection.recv()
    except EOFError:
        worker.process.join(10)
        code = worker.process.exitcode or 0
        if code == -signal.SIGXCPU:
            return _lost(worker, f"no end after {CPU_S} s of computing")
        return _lost(worker, f"the process died: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}")


def _lost(worker: Worker, what: str) -> Outcome:
    assert worker.case is not None
    worker.process.join(10)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    told, *stacks = worker.stacks.read_text(errors="replace").splitlines() or [""]
    frames = [line.strip() for line in stacks if line.strip().startswith("File")]
    ours = [frame for frame in frames if "rlpost" in frame][:6]
    shown = [frame.replace("File ", "").replace('"', "") for frame in [*frames[:3], *ours]]
    return Outcome(case=worker.case, result="violation", message=f"{what} | {' < '.join(shown)}", told=(told,))


def _serve(connection: Connection, ground: Path, stacks: Path) -> None:
    """Cases from the connection until the parent is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY,) * 2)
    file = stacks.open("w")
    faulthandler.enable(file, all_threads=True)
    for deadline in (signal.SIGXCPU, signal.SIGTERM):
        faulthandler.register(deadline, file, all_threads=True, chain=True)

    def note(told: tuple[str, ...]) -> None:
        file.truncate(0)
        file.seek(0)
        print(ascii(told), file=file, flush=True)

    while True:
        try:
            case = connection.recv()
        except EOFError:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime) + CPU_S + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        connection.send(run_case(case, ground=ground, note=note))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
