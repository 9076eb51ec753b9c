"""A learner whose ranks all run the caller's code, each with the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from rlpost.learner.fsdp_learner import FsdpLearner
from rlpost.learner.ranked import RankedLearner
from rlpost.learner.shares import BatchShare
from rlpost.settings import LearnerSettings


class LocalLearner(RankedLearner):
    """Implements `interfaces.Learner` for ranks that all make the same calls; on each rank, a call returns the result
    over all ranks.
    """

    def __init__(self, settings: LearnerSettings, mesh: DeviceMesh) -> None:
        super().__init__(settings, ranks=dist.get_world_size())
        self.rank = FsdpLearner(settings, mesh)

    def close(self) -> None:
        """Wait until the current save ends, before the learner is dropped."""
        self.rank.close()

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.rank, method)(*arguments, **options)

    def _call_shares(self, method: str, shares: Sequence[BatchShare], *arguments: Any, **options: Any) -> list[Any]:
        answer = getattr(self.rank, method)(shares[dist.get_rank()], *arguments, **options)
        answers: list[Any] = [answer] * len(shares)
        if len(shares) > 1:
            dist.all_gather_object(answers, answer)
        return answers
