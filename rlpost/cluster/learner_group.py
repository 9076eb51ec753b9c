"""The learner ranks as Ray actors, and the learner that the stage sees."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError

from rlpost.cluster.placement import Placement
from rlpost.cluster.restarts import RestartBudget
from rlpost.cluster.session import wait_for
from rlpost.disk_space import room_for
from rlpost.errors import ClusterError, LearnerLostError
from rlpost.learner.remote import RemoteLearner
from rlpost.learner.settings import LearnerSettings
from rlpost.recipe.schema import ClusterConfig
from rlpost.records import TrainBatch

DEATH_KNOWN_AFTER_S = 5.0
"""Within this time after a rank's death every call to it fails."""


class LearnerActor:
    """One rank in one process; torch is imported when it joins, after its environment is set."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None

    def free_address(self) -> tuple[str, int]:
        """Where the ranks may meet on this node; the port is held from now on, and on this interface only."""
        self._listener = socket.create_server((ray.util.get_node_ip_address(), 0))
        return self._listener.getsockname()

    def join(self, rank: int, ranks: int, address: tuple[str, int], device: Any, timeout_s: float) -> None:
        """Become this rank of the process group."""
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK="0", MASTER_ADDR=address[0], MASTER_PORT=str(address[1])
        )
        if address[0].startswith("127."):
            os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        from rlpost.learner.process_group import meeting_place
        from rlpost.learner.rank import LearnerRank

        store = meeting_place(address, ranks=ranks, listener=self._listener, timeout_s=timeout_s)
        self._rank = LearnerRank(device, timeout_s=timeout_s, store=store)

    def ping(self) -> None:
        """Answers when the calls before it have ended; fails when the process is gone."""

    def build(self, settings: LearnerSettings) -> None:
        """See `LearnerRank.build`."""
        self._rank.build(settings)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See `LearnerRank.call`."""
        # Here, because an error of torch's checkpoints is no Exception and would end the actor without a word.
        with room_for(next((part for part in arguments if isinstance(part, Path)), Path())):
            return self._rank.call(method, *arguments, **options)


class LearnerGroup:
    """Hands out one learner a stage. Its processes live as long as the run, or until one of them dies."""

    def __init__(self, cluster: ClusterConfig, placement: Placement, *, environment: dict[str, str]) -> None:
        self._cluster, self._placement, self._environment = cluster, placement, environment
        self._budget = RestartBudget(
            "learner ranks", most=cluster.learner.max_restarts, setting="learner.max_restarts of the cluster file"
        )
        self.actors: list[Any] = []
        self._joining: list[Any] = []
        self._start()

    def restart(self, error: LearnerLostError) -> None:
        """End what is left of the ranks and start new ones; the next `build` waits for them.

        Raises:
            ClusterError: ranks have died too often.
        """
        pause_s = self._budget.pause_s(error, now_s=time.monotonic())
        for actor in self.actors:
            ray.kill(actor)
        time.sleep(pause_s)
        self._start()

    def _start(self) -> None:
        remote_class = ray.remote(LearnerActor)
        runtime = {"env_vars": self._environment}
        self.actors = [
            remote_class.options(**self._placement.learner(rank), runtime_env=runtime).remote()
            for rank in range(self._cluster.learner.ranks)
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
        try:
            return wait_for(f"the learner ({method})", answers, timeout_s=self._timeout_s)[0]
        except ClusterError as error:
            # A rank's death is often first seen by another one, whose connection to it breaks.
            if (lost := self._lost_rank()) is not None:
                raise LearnerLostError(f"learner rank {lost} died in {method}") from error
            raise

    def _lost_rank(self) -> int | None:
        """A rank whose process is gone; one that is busy is not."""
        pings = [actor.ping.remote() for actor in self._actors]
        done, _ = ray.wait(pings, num_returns=len(pings), timeout=DEATH_KNOWN_AFTER_S)
        for rank, ping in enumerate(pings):
            if ping in done:
                try:
                    ray.get(ping)
                except RayActorError:
                    return rank
        return None
