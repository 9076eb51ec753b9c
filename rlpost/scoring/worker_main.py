"""The program of one worker process: `python -m rlpost.scoring.worker_main <fd>`.

Over the socket `fd` come pickles from the parent, first a `WorkerOrder`, then `Batch`es; back go lines of JSON, first
`{"ready": true}` or `{"start_error": ...}`, then one verdict a sample in order.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import pickle
import resource
import signal
import socket
import sys
from typing import IO, Any

from rlpost.errors import RewardError
from rlpost.records import Sample
from rlpost.scoring.authoring import Verifier, case_failure
from rlpost.scoring.guarded import judge_guarded
from rlpost.scoring.registry import load_verifier
from rlpost.scoring.worker_messages import Batch, WorkerOrder, encode_contract_error, encode_verdict

OUT_OF_MEMORY_EXIT = 86
"""Exit status of a worker that reached its memory limit; any number that interpreters do not use."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the parent closes the socket or dies."""
    # A library's warning about every sample would flood the terminal of the parent.
    logging.disable(logging.WARNING)
    connection = socket.socket(fileno=int(sys.argv[1]))
    orders, replies = connection.makefile("rb"), connection.makefile("wb")
    order: WorkerOrder = pickle.load(orders)
    _die_with(order.parent_pid)
    _limit_memory(order.memory_mib)
    try:
        verifier = _ready_verifier(order.reference)
    except Exception as error:
        _send(replies, json.dumps({"start_error": f"{type(error).__name__}: {error!s:.1000}"}).encode() + b"\n")
        return
    _send(replies, b'{"ready": true}\n')
    while True:
        try:
            batch: Batch = pickle.load(orders)
        except EOFError:
            return
        for sample in batch.samples:
            _send(replies, _reply(verifier, sample, batch.params))


def _reply(verifier: Verifier, sample: Sample, params: dict[str, Any]) -> bytes:
    try:
        return encode_verdict(judge_guarded(verifier, sample, params=params))
    except RewardError as error:
        return encode_contract_error(str(error))
    except MemoryError:
        os._exit(OUT_OF_MEMORY_EXIT)


def _ready_verifier(reference: str) -> Verifier:
    """Import the verifier; judging its first accepted case loads its libraries and proves that it runs."""
    verifier = load_verifier(reference)
    case = next((case for case in verifier.cases if case.expect == "accept"), None)
    if case is not None:
        verdict = verifier.judge(case.sample(), params=verifier.validated(case.params))
        failure = case_failure(verifier, case, verdict=verdict)
        if failure is not None:
            raise RewardError(f"it fails its own case: {failure}")
    return verifier


def _send(replies: IO[bytes], line: bytes) -> None:
    replies.write(line)
    replies.flush()


def _die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, even in the middle of a sample."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        sys.exit("the parent died before this worker was ready")


def _limit_memory(memory_mib: int) -> None:
    """Soft and hard: a soft limit alone can be raised again from inside."""
    limit = memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
