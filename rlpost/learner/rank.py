"""One learner process: holds the learner of the current stage and runs the calls that the driver makes on all ranks."""

from __future__ import annotations

import gc
from typing import Any, Literal

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from rlpost.learner.fsdp_learner import FsdpLearner
from rlpost.learner.process_group import MeetingPlace, join_process_group
from rlpost.learner.shares import BatchShare
from rlpost.settings import LearnerSettings


class LearnerRank:
    """One rank, started once per run; `build` replaces the learner at the start of each stage."""

    def __init__(self, device: Literal["cpu", "cuda"], *, timeout_s: float, store: MeetingPlace | None) -> None:
        self._mesh: DeviceMesh = join_process_group(device, timeout_s=timeout_s, store=store)
        self._learner: FsdpLearner | None = None

    def build(self, settings: LearnerSettings) -> None:
        """Drop the previous stage's learner and load the start of this stage."""
        self.close()
        self._learner = None
        # FSDP's modules form reference cycles; without a collection, two stages' models would be in memory at once.
        gc.collect()
        self._learner = FsdpLearner(settings, self._mesh)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Run a method of `interfaces.Learner`. Every rank runs the same call; the caller gets rank 0's result."""
        assert self._learner is not None, "build comes before any other call"
        answer = getattr(self._learner, method)(*arguments, **options)
        return answer if dist.get_rank() == 0 else None

    def call_share(self, method: str, share: BatchShare, *arguments: Any, **options: Any) -> Any:
        """Run a method that computes on a batch; every rank returns the result for its own share."""
        assert self._learner is not None, "build comes before any other call"
        return getattr(self._learner, method)(share, *arguments, **options)

    def close(self) -> None:
        """Close the learner before the process leaves the group, so that none of its threads is still in a
        collective.
        """
        if self._learner is not None:
            self._learner.close()
