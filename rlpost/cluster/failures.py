"""Tells failures of machines from bugs and bad data, inside the actor, where the error still has its class.

If a machine fails, the affected actor is replaced, within its restart budget. Any other error stays as it is, and ends
the run.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError

from rlpost.errors import ActorLostError, ClusterError, LearnerLostError, RlpostError
from rlpost.platform.disk_space import room_for

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

LOST = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError)
"""Ray's errors for a call whose process is gone, including a process that Ray killed because memory ran out."""

_CLASSES = {
    ("torch", "OutOfMemoryError"),
    ("torch", "AcceleratorError"),
    ("torch", "DistBackendError"),
    ("torch", "DistNetworkError"),
    ("torch", "DistStoreError"),
    ("vllm", "EngineDeadError"),
}
"""Listed by package and name, so that neither package is imported here."""
_WORDS = (
    "CUDA error",
    "CUBLAS_STATUS_",
    "CUDNN_STATUS_",
    "NCCL error",
    "gloo/transport",
    "Executor failed",
    "RPC call to",
)
"""Messages of torch and vLLM for errors that have no class of their own."""
_BUG_ON_DEVICE = "device-side assert"
"""For example an index outside of its table: it fails again on every attempt."""
_LONGEST_REASON = 300


def is_of_the_machine(error: BaseException) -> bool:
    """Whether this error, or one of its causes, says that a machine, a device or a connection has failed."""
    if isinstance(error, RlpostError) and not isinstance(error, ClusterError):
        return False  # Already classified.
    chain = list(_chain(error))
    return not any(_BUG_ON_DEVICE in str(one) for one in chain) and any(map(_is_known, chain))


def told_apart(
    part: str, lost: type[ActorLostError] | type[LearnerLostError]
) -> Callable[[Callable[Arguments, Answer]], Callable[Arguments, Answer]]:
    """Decorate an actor's method: a machine failure is raised as `lost`, and its traceback goes to the actor's log.

    A full disk becomes a `StorageError`, because a new process would not fix it.

    Args:
        part: Name of the failed part in the message.
        lost: Error class that makes the caller replace the part.
    """

    def decorate(method: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
        @wraps(method)
        def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Answer:
            try:
                with room_for(Path(tempfile.gettempdir())):
                    return method(*arguments, **options)
            except lost:
                raise
            except Exception as error:
                if not is_of_the_machine(error):
                    raise
                traceback.print_exc()
                raise lost(f"{part} failed: {_in_a_line(error)}") from error

        return call

    return decorate


def _is_known(error: BaseException) -> bool:
    if isinstance(error, MemoryError | ConnectionError):
        return True
    names = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    if names & _CLASSES:
        return True
    return isinstance(error, RuntimeError | TimeoutError) and any(words in str(error) for words in _WORDS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _in_a_line(error: BaseException) -> str:
    text = str(error) if isinstance(error, RlpostError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_LONGEST_REASON]
