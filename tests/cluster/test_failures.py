"""Failures of machines told apart from bugs and bad data; setbacks that come back at the same place."""

from __future__ import annotations

import errno
import pickle

import pytest
import torch
import torch.distributed as dist
from vllm.v1.engine.exceptions import EngineDeadError

from rlpost.cluster.failures import is_of_the_machine, told_apart
from rlpost.cluster.restarts import Setbacks
from rlpost.errors import (
    ActorLostError,
    ClusterError,
    DataError,
    DeadlineError,
    LearnerLostError,
    RlpostError,
    StorageError,
)

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4242"


def caused_by(cause: BaseException) -> ClusterError:
    """As the generator tells that its engine's thread has ended."""
    error = ClusterError("the engine of generator rollout-0 has failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("12 GiB"),
        ConnectionResetError("peer"),
        BrokenPipeError("pipe"),
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: unspecified launch failure"),
        dist.DistBackendError("NCCL communicator was aborted"),
        dist.DistNetworkError("broken"),
        EngineDeadError(),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("NCCL error: unhandled system error"),
        RuntimeError(GLOO),
        RuntimeError("Executor failed."),
        TimeoutError("RPC call to execute_model timed out."),
        caused_by(MemoryError("12 GiB")),
        caused_by(EngineDeadError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_is_the_machine(error: BaseException) -> None:
    assert is_of_the_machine(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("CUDA error"),
        KeyError("loss"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("CUDA error: device-side assert triggered"),
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        AssertionError("rollout came twice"),
        DataError("prompt 3 has 0 tokens"),
        StorageError("the disk is full"),
        caused_by(ValueError("bad prompt")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_is_a_bug_or_data_and_stays_loud(error: BaseException) -> None:
    assert not is_of_the_machine(error)


def raising(error: Exception) -> RlpostError | Exception:
    """What comes out of an actor's method that raises this."""

    @told_apart("the engine", ActorLostError)
    def method() -> None:
        raise error

    with pytest.raises(Exception) as caught:
        method()
    return caught.value


def test_a_failure_of_the_machine_becomes_a_loss_that_survives_the_journey() -> None:
    found = raising(caused_by(MemoryError("12 GiB")))
    assert type(found) is ActorLostError
    assert str(found) == "the engine failed: the engine of generator rollout-0 has failed"
    travelled = pickle.loads(pickle.dumps(raising(MemoryError("12\nGiB"))))
    assert (type(travelled), str(travelled)) == (ActorLostError, "the engine failed: MemoryError: 12 GiB")


def test_everything_else_comes_out_as_it_was() -> None:
    bug, data = KeyError("loss"), DataError("prompt 3 has 0 tokens")
    assert raising(bug) is bug
    assert raising(data) is data
    assert type(raising(OSError(errno.ENOSPC, "No space left on device"))) is StorageError


def test_a_learner_that_hangs_again_without_getting_further_ends_the_run() -> None:
    setbacks = Setbacks(most=3, on_hang="restart")
    overdue = DeadlineError("the learner (step) must answer within 5 s")
    overdue.report = "stalls/1.txt"
    setbacks.reached(4)
    assert type(setbacks.of_hang(overdue)) is LearnerLostError
    setbacks.reached(3)
    again = setbacks.of_hang(overdue)
    assert type(again) is DeadlineError
    assert str(again) == (
        "the learner hung twice without getting beyond step 4: the learner (step) must answer within 5 s\n"
        "Stall report: stalls/1.txt"
    )
    setbacks.reached(5)
    assert type(setbacks.of_hang(overdue)) is LearnerLostError
    setbacks.begin()
    assert type(setbacks.of_hang(overdue)) is LearnerLostError


def test_with_stop_the_first_hang_ends_the_run() -> None:
    overdue = DeadlineError("the learner (step) must answer within 5 s")
    assert Setbacks(most=3, on_hang="stop").of_hang(overdue) is overdue


def test_losses_at_the_same_place_are_counted_whatever_time_lies_between() -> None:
    setbacks, error = Setbacks(most=2, on_hang="restart"), LearnerLostError("rank 0 died")
    for step in (1, 2, 3, 4):
        setbacks.reached(step)
        setbacks.lost(error)
    setbacks.lost(error)
    with pytest.raises(ClusterError, match=r"lost 3 times in a row without getting beyond step 4, .*rank 0 died"):
        setbacks.lost(error)
