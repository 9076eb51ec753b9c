"""The learner ranks as Ray actors, and the learner that a stage uses."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from rlpost.cluster.actor_stacks import SeenActor, Whereabouts, own_whereabouts
from rlpost.cluster.failures import LOST, told_apart
from rlpost.cluster.placement import Placement
from rlpost.cluster.restarts import RestartBudget, Setbacks
from rlpost.cluster.session import wait_for
from rlpost.errors import ClusterError, DamagedWeightsError, DeadlineError, LearnerLostError
from rlpost.interfaces import LossFn
from rlpost.learner.ranked import RankedLearner
from rlpost.learner.shares import BatchShare
from rlpost.platform.disk_space import room_for
from rlpost.recipe.schema import ClusterConfig
from rlpost.settings import LearnerSettings
from rlpost.telemetry.waits import WAITS
from rlpost.train_records import StepReport, TrainBatch

DEATH_KNOWN_AFTER_S = 5.0
"""Within this time after a rank's death, every call to it fails."""


class LearnerActor:
    """One learner rank in its own process; torch is imported in `join`, after the process's environment is set."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None

    def whereabouts(self) -> Whereabouts:
        """Return the location of this process, for stall reports."""
        return own_whereabouts()

    def free_address(self) -> tuple[str, int]:
        """Return an address on this node where the ranks can meet; the port is held from now on, on this interface
        only.
        """
        self._listener = socket.create_server((ray.util.get_node_ip_address(), 0))
        return self._listener.getsockname()

    @told_apart("a learner rank", LearnerLostError)
    def join(self, rank: int, ranks: int, address: tuple[str, int], device: Any, timeout_s: float) -> None:
        """Become this rank of the process group."""
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK="0", MASTER_ADDR=address[0], MASTER_PORT=str(address[1])
        )
        if address[0].startswith("127."):
            os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        self._rank = self._enter_group(address, ranks, device, timeout_s)

    def _enter_group(self, address: tuple[str, int], ranks: int, device: Any, timeout_s: float) -> Any:
        from rlpost.learner.process_group import meeting_place
        from rlpost.learner.rank import LearnerRank

        store = meeting_place(address, ranks=ranks, listener=self._listener, timeout_s=timeout_s)
        return LearnerRank(device, timeout_s=timeout_s, store=store)

    def ping(self) -> None:
        """Return after the earlier calls have ended; the call fails if the process is gone."""

    @told_apart("a learner rank", LearnerLostError)
    def build(self, settings: LearnerSettings) -> None:
        """See `LearnerRank.build`."""
        self._rank.build(settings)

    @told_apart("a learner rank", LearnerLostError)
    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See `LearnerRank.call`."""
        # Checked here, where the folder is known and the error is not yet text.
        with room_for(next((part for part in arguments if isinstance(part, Path)), Path())):
            return self._rank.call(method, *arguments, **options)

    @told_apart("a learner rank", LearnerLostError)
    def call_share(self, method: str, share: BatchShare, *arguments: Any, **options: Any) -> Any:
        """See `LearnerRank.call_share`."""
        return self._rank.call_share(method, share, *arguments, **options)


class LearnerGroup:
    """Provides one learner per stage. Its processes live as long as the run, unless one of them dies or hangs."""

    def __init__(
        self,
        cluster: ClusterConfig,
        placement: Placement,
        *,
        environment: dict[str, str],
        actor_class: type[LearnerActor] = LearnerActor,
    ) -> None:
        self._cluster, self._placement, self._environment = cluster, placement, environment
        self._actor_class = actor_class
        most, setting = cluster.learner.max_restarts, "learner.max_restarts of the cluster file"
        self._deaths = RestartBudget("learner ranks died", most=most, setting=setting)
        self._damages = RestartBudget("published weights were damaged", most=most, setting=setting)
        self._setbacks = Setbacks(most=most, on_hang=cluster.watchdog.on_stall)
        self._starts_again = False
        self.actors: list[Any] = []
        self._joining: list[Any] = []
        self._whereabouts: list[Any] = []
        self._start()

    def recover(self, error: LearnerLostError | DamagedWeightsError) -> None:
        """Prepare for the next `build`: if a rank is lost, end the others and start all ranks again.

        Raises:
            ClusterError: this has happened too often.
        """
        if isinstance(error, DamagedWeightsError):
            time.sleep(self._damages.pause_s(error, now_s=time.monotonic()))
            return
        self._setbacks.lost(error)
        pause_s = self._deaths.pause_s(error, now_s=time.monotonic())
        for actor in self.actors:
            ray.kill(actor)
        time.sleep(pause_s)
        self._start()
        self._starts_again = True
        WAITS.note("new learner ranks were asked for", by_itself=False)

    def seen(self) -> list[SeenActor]:
        """Return the ranks for stall reports, without waiting."""
        return [
            SeenActor(name=f"learner rank {rank}", state="at work", whereabouts=whereabouts)
            for rank, whereabouts in enumerate(self._whereabouts)
        ]

    def _start(self) -> None:
        """Start the ranks without waiting: the first `build` waits for them, so that their imports overlap with other
        starts.
        """
        remote_class = ray.remote(self._actor_class)
        runtime = {"env_vars": self._environment}
        self.actors = [
            remote_class.options(**self._placement.learner(rank), runtime_env=runtime).remote()
            for rank in range(self._cluster.learner.ranks)
        ]
        self._whereabouts = [actor.whereabouts.remote() for actor in self.actors]
        # Ray sends the address from rank 0 to the others without a detour through the driver.
        address = self.actors[0].free_address.remote()
        role, ranks = self._cluster.learner, len(self.actors)
        self._joining = [
            actor.join.remote(rank, ranks, address, role.device, self._cluster.step_timeout_s)
            for rank, actor in enumerate(self.actors)
        ]

    def build(self, settings: LearnerSettings) -> RayLearner:
        """Return the learner of the next stage, or of the interrupted one.

        Raises:
            DeadlineError: the ranks have not started within `start_timeout_s`.
            LearnerLostError: a rank died or failed while it was restarting or loading the model.
            ClusterError: a rank could not be started at all.
        """
        timeout_s = self._cluster.start_timeout_s
        if self._starts_again:
            answers_of(self.actors, "join", self._joining, timeout_s=timeout_s)
        else:
            # If the first start fails, a second attempt is pointless.
            wait_for("the learner group", self._joining, timeout_s=timeout_s)
            self._setbacks.begin()
        self._starts_again = False
        builds = [actor.build.remote(settings) for actor in self.actors]
        answers_of(self.actors, "build", builds, timeout_s=timeout_s)
        WAITS.note("the learner was built")
        silence_s = self._cluster.learner.silence_timeout_s or self._cluster.step_timeout_s
        return RayLearner(settings, self.actors, timeout_s=silence_s, setbacks=self._setbacks)


class RayLearner(RankedLearner):
    """Runs every call on every rank; each share of a batch is sent once, through the object store, to its rank."""

    def __init__(self, settings: LearnerSettings, actors: list[Any], *, timeout_s: float, setbacks: Setbacks) -> None:
        super().__init__(settings, ranks=len(actors))
        self._actors = actors
        self._timeout_s, self._setbacks = timeout_s, setbacks

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        calls = [actor.call.remote(method, *arguments, **options) for actor in self._actors]
        return self._answers(method, calls)[0]

    def _call_shares(self, method: str, shares: Sequence[BatchShare], *arguments: Any, **options: Any) -> list[Any]:
        calls = [
            actor.call_share.remote(method, ray.put(share), *arguments, **options)
            for actor, share in zip(self._actors, shares, strict=True)
        ]
        return self._answers(method, calls)

    def step(self, batch: TrainBatch, loss: LossFn, *, planned_step: int | None = None) -> StepReport:
        """See `interfaces.Learner`."""
        report = super().step(batch, loss, planned_step=planned_step)
        self._setbacks.reached(report.step)
        return report

    def _answers(self, method: str, calls: list[Any]) -> list[Any]:
        try:
            answers = answers_of(self._actors, method, calls, timeout_s=self._timeout_s)
        except DeadlineError as error:
            raise self._setbacks.of_hang(error) from error
        WAITS.note(f"the learner ({method})")
        return answers


def answers_of(actors: list[Any], method: str, calls: list[Any], *, timeout_s: float) -> list[Any]:
    """Return the answers of all ranks to a call.

    Raises:
        LearnerLostError: a rank died, or its machine failed.
        DeadlineError, RlpostError: see `wait_for`.
    """
    try:
        return wait_for(f"the learner ({method})", calls, timeout_s=timeout_s)
    except ClusterError as error:
        # A dead rank is often first noticed by another one, whose connection to it breaks.
        if (lost := _lost_rank(actors)) is not None:
            raise LearnerLostError(f"learner rank {lost} died in {method}") from error
        raise


def _lost_rank(actors: list[Any]) -> int | None:
    """Return a rank whose process is gone, not one that is merely busy; None if there is none."""
    pings = [actor.ping.remote() for actor in actors]
    done, _ = ray.wait(pings, num_returns=len(pings), timeout=DEATH_KNOWN_AFTER_S)
    for rank, ping in enumerate(pings):
        if ping in done:
            try:
                ray.get(ping)
            except LOST:
                return rank
    return None
