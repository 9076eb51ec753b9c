"""One learner process: holds the learner of the current stage and runs what the controller asks of all ranks."""

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
    """Started once for a run; `build` replaces the learner at the start of each stage."""

    def __init__(self, device: Literal["cpu", "cuda"], *, timeout_s: float, store: MeetingPlace | None) -> None:
        self._mesh: DeviceMesh = join_process_group(device, timeout_s=timeout_s, store=store)
        self._learner: FsdpLearner | None = None

    def build(self, settings: LearnerSettings) -> None:
        """Drop the last stage's learner and load this stage's start."""
        self.close()
        self._learner = None
        # FSDP's modules refer to each other in circles; without this two stages' models would be held at once.
        gc.collect()
        self._learner = FsdpLearner(settings, self._mesh)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Run a method of `interfaces.Learner`. Every rank runs the same call; the answer is rank 0's."""
        assert self._learner is not None, "build comes before any other call"
        answer = getattr(self._learner, method)(*arguments, **options)
        return answer if dist.get_rank() == 0 else None

    def call_share(self, method: str, share: BatchShare, *arguments: Any, **options: Any) -> Any:
        """Run a method that computes on a batch; every rank answers for its own share."""
        assert self._learner is not None, "build comes before any other call"
        return getattr(self._learner, method)(share, *arguments, **options)

    def close(self) -> None:
        """Before the process leaves the group: no thread of the learner's may be in a collective any more."""
        if self._learner is not None:
            self._learner.close()
