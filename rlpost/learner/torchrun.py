"""A learner under plain torchrun: rank 0 runs the stage and sends commands to the other ranks.

It needs neither ray nor vllm. Commands are sent as objects only among the processes that torchrun started.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any, Literal

import torch.distributed as dist

from rlpost.errors import ClusterError, RlpostError
from rlpost.learner.rank import LearnerRank
from rlpost.learner.ranked import RankedLearner
from rlpost.learner.shares import BatchShare
from rlpost.platform.process_end import ask_for_abrupt_end
from rlpost.settings import LearnerSettings
from rlpost.telemetry.waits import WAITS

_STOP = "stop"


def start_rank(device: Literal["cpu", "cuda"], *, timeout_s: float) -> LearnerRank:
    """Join the ranks that torchrun started. The process must end with `process_end.end_if_asked`.

    Raises:
        ClusterError: torchrun did not start this process.
    """
    if "RANK" not in os.environ:
        raise ClusterError(
            "launcher: torchrun needs the command to be started by torchrun, and RANK is not set: type "
            "`torchrun --nproc-per-node 2 -m rlpost run RECIPE --cluster ray_configs/torchrun.yaml`"
        )
    ask_for_abrupt_end()
    return LearnerRank(device, timeout_s=timeout_s, store=None)


def serve(rank: LearnerRank) -> None:
    """Run the commands of rank 0 until it sends stop; the other ranks do nothing else."""
    # Torchrun sends SIGTERM to all ranks at once. Rank 0 then saves a checkpoint, for which it needs the others.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        command: list[Any] = [None]
        dist.broadcast_object_list(command, src=0)
        method, arguments, options, has_shares = command[0]
        if method == _STOP:
            rank.close()
            return
        try:
            if has_shares:
                _run_share(rank, None, method, arguments, options)
            else:
                _run(rank, method, arguments, options)
        except RlpostError:
            # Every rank raises this error from the same reduced numbers and files; rank 0 reports it and then sends
            # stop.
            continue


class TorchrunLearner(RankedLearner):
    """Rank 0's learner: it sends each command to the other ranks before running it."""

    def __init__(self, rank: LearnerRank, settings: LearnerSettings) -> None:
        super().__init__(settings, ranks=dist.get_world_size())
        self._rank = rank
        self._call("build", settings)

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        with WAITS.until(f"all ranks ({method})"):  # The process group enforces the deadline.
            dist.broadcast_object_list([(method, arguments, options, False)], src=0)
            answer = _run(self._rank, method, arguments, options)
        WAITS.note(f"the learner ({method})")
        return answer

    def _call_shares(self, method: str, shares: Sequence[BatchShare], *arguments: Any, **options: Any) -> list[Any]:
        with WAITS.until(f"all ranks ({method})"):
            dist.broadcast_object_list([(method, arguments, options, True)], src=0)
            answers = _run_share(self._rank, shares, method, arguments, options)
        WAITS.note(f"the learner ({method})")
        return answers


def stop_ranks(rank: LearnerRank) -> None:
    """Make the other ranks return from `serve`; rank 0 calls it once, at the end."""
    dist.broadcast_object_list([(_STOP, (), {}, False)], src=0)
    rank.close()
    dist.destroy_process_group()


def _run(rank: LearnerRank, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if method == "build":
        return rank.build(*arguments)
    return rank.call(method, *arguments, **options)


def _run_share(
    rank: LearnerRank,
    shares: Sequence[BatchShare] | None,
    method: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> list[Any]:
    """Distribute the shares, which only rank 0 has; rank 0 gets the results of all ranks, and the others get
    nothing.
    """
    mine: list[Any] = [None]
    dist.scatter_object_list(mine, None if shares is None else list(shares), src=0)
    answer = rank.call_share(method, mine[0], *arguments, **options)
    answers: list[Any] = [None] * dist.get_world_size()
    dist.gather_object(answer, None if shares is None else answers, dst=0)
    return answers
