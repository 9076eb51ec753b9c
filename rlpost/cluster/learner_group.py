"""The learner ranks as Ray actors, and the learner that the stage sees."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import ray

from rlpost.cluster.placement import Placement
from rlpost.cluster.session import wait_for
from rlpost.disk_space import room_for
from rlpost.learner.remote import RemoteLearner
from rlpost.learner.settings import LearnerSettings
from rlpost.recipe.schema import ClusterConfig
from rlpost.records import TrainBatch


class LearnerActor:
    """One rank in one process; torch is imported when it joins, after its environment is set."""

    def free_address(self) -> tuple[str, int]:
        """Where the ranks may meet on this node."""
        host = ray.util.get_node_ip_address()
        with socket.socket() as probe:
            probe.bind((host, 0))
            return host, probe.getsockname()[1]

    def join(self, rank: int, ranks: int, address: tuple[str, int], device: Any, timeout_s: float) -> None:
        """Become this rank of the process group."""
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK="0", MASTER_ADDR=address[0], MASTER_PORT=str(address[1])
        )
        if address[0].startswith("127."):
            os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        from rlpost.learner.rank import LearnerRank

        self._rank = LearnerRank(device, timeout_s=timeout_s)

    def build(self, settings: LearnerSettings) -> None:
        """See `LearnerRank.build`."""
        self._rank.build(settings)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See `LearnerRank.call`."""
        # Here, because an error of torch's checkpoints is no Exception and would end the actor without a word.
        with room_for(next((part for part in arguments if isinstance(part, Path)), Path())):
            return self._rank.call(method, *arguments, **options)


class LearnerGroup:
    """Started once for a run; hands out one learner a stage."""

    def __init__(self, cluster: ClusterConfig, placement: Placement, *, environment: dict[str, str]) -> None:
        self._cluster = cluster
        remote_class = ray.remote(LearnerActor)
        self.actors: list[Any] = [
            remote_class.options(**placement.learner(rank), runtime_env={"env_vars": environment}).remote()
            for rank in range(cluster.learner.ranks)
        ]
        self._joining = self._join()

    def _join(self) -> list[Any]:
        """Start joining; the first `build` waits for it, so that imports overlap with other starts."""
        (address,) = wait_for(
            "learner rank 0", [self.actors[0].free_address.remote()], timeout_s=self._cluster.start_timeout_s
        )
        role, ranks = self._cluster.learner, len(self.actors)
        return [
            actor.join.remote(rank, ranks, address, role.device, self._cluster.step_timeout_s)
            for rank, actor in enumerate(self.actors)
        ]

    def build(self, settings: LearnerSettings) -> RayLearner:
        """The learner of the next stage."""
        wait_for("the learner group", self._joining, timeout_s=self._cluster.start_timeout_s)
        builds = [actor.build.remote(settings) for actor in self.actors]
        wait_for("the learner group", builds, timeout_s=self._cluster.start_timeout_s)
        return RayLearner(self.actors, timeout_s=self._cluster.step_timeout_s)


class RayLearner(RemoteLearner):
    """Every rank runs every call; a batch travels once, through the object store."""

    def __init__(self, actors: list[Any], *, timeout_s: float) -> None:
        self._actors = actors
        self._timeout_s = timeout_s

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        stored = [ray.put(argument) if isinstance(argument, TrainBatch) else argument for argument in arguments]
        answers = [actor.call.remote(method, *stored, **options) for actor in self._actors]
        return wait_for(f"the learner ({method})", answers, timeout_s=self._timeout_s)[0]
