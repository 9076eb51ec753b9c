"""The program of one worker process: `python -m rlpost.scoring.worker_main <fd>`.

The parent sends pickles over the socket `fd`: first a `WorkerOrder`, then `Batch`es. The worker replies with lines of
JSON: first `{"ready": true}` or `{"start_error": ...}`, then one numbered verdict per sample, in order. If one call
judges several samples, a line with the number of verdicts precedes them: one per sample, or a single verdict in which
the whole call ended. The socket is none of the verifier's descriptors 0 to 2, and processes that the verifier starts or
forks do not have it.

The kernel limits this process and all processes that it starts: address space, processor time, the size of a file, and
no core dumps. Each limit is set both soft and hard, so that it cannot be raised again. The number of processes is not
limited, because that limit counts all processes of a user and does not apply to root. The parent enforces the deadline:
it kills the process group.
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
from collections.abc import Sequence
from typing import IO, Any

from rlpost.errors import RewardError
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Verifier, case_failure
from rlpost.scoring.guarded import call_guarded
from rlpost.scoring.registry import load_verifier
from rlpost.scoring.worker_messages import (
    Batch,
    ReplyNumber,
    WorkerOrder,
    encode_contract_error,
    encode_count,
    encode_verdict,
)

OUT_OF_MEMORY_EXIT = 86
"""Exit status of a worker that reached its memory limit; interpreters do not use this number."""
LONGEST_FILE = 2**30
"""Largest size in bytes of a file that a verifier may write. It also bounds the log that captures its prints."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Serve until the parent closes the socket or dies."""
    # A library that warns about every sample would flood the parent's terminal.
    logging.disable(logging.WARNING)
    connection = socket.socket(fileno=int(sys.argv[1]))
    _keep_from_children(connection)
    orders, replies = connection.makefile("rb"), connection.makefile("wb")
    order: WorkerOrder = pickle.load(orders)
    _die_with(order.parent_pid)
    _limit(order)
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
        if verifier.spec.per == "sample":
            for place, sample in enumerate(batch.samples):
                _send(replies, _reply(verifier, [sample], batch.params, number=ReplyNumber(batch.number, place)))
        else:
            _send(replies, _reply(verifier, batch.samples, batch.params, number=ReplyNumber(batch.number, 0)))


def _reply(verifier: Verifier, samples: Sequence[Sample], params: dict[str, Any], *, number: ReplyNumber) -> bytes:
    worker_pid = os.getpid()
    try:
        answer = call_guarded(verifier, samples, params=params)
    except RewardError as error:
        return encode_contract_error(str(error), number=number)
    except MemoryError:
        os._exit(OUT_OF_MEMORY_EXIT)
    finally:
        if os.getpid() != worker_pid:  # a child that the verifier forked has come back from the call
            os._exit(1)
    verdicts = [answer] if isinstance(answer, Verdict) else answer
    if verifier.spec.per == "sample":
        return encode_verdict(verdicts[0], number=number)
    lines = [encode_count(len(verdicts), number=number)]
    for place, verdict in enumerate(verdicts, start=1):
        lines.append(encode_verdict(verdict, number=ReplyNumber(number.batch, place)))
    return b"".join(lines)


def _ready_verifier(reference: str) -> Verifier:
    """Import the verifier, then judge its first accepted case, which loads its libraries and proves that it runs."""
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


def _keep_from_children(connection: socket.socket) -> None:
    """Give no process that this one starts or forks the socket."""
    connection.set_inheritable(False)
    nowhere = os.open(os.devnull, os.O_RDWR)

    def close_in_child() -> None:
        os.dup2(nowhere, connection.fileno(), inheritable=False)

    os.register_at_fork(after_in_child=close_in_child)


def _die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, even in the middle of a sample.

    Descendants whose parent ended become children of this process, so that whoever kills it finds them.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_CHILD_SUBREAPER, 1)):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
    if os.getppid() != parent_pid:
        sys.exit("the parent died before this worker was ready")


def _limit(order: WorkerOrder) -> None:
    limits = {
        resource.RLIMIT_AS: order.memory_mib * 2**20,
        resource.RLIMIT_CPU: order.cpu_s,
        resource.RLIMIT_FSIZE: LONGEST_FILE,
        resource.RLIMIT_CORE: 0,
    }
    for kind, wanted in limits.items():
        # The process may have been started under a lower limit, which it cannot raise.
        hard = resource.getrlimit(kind)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    main()
