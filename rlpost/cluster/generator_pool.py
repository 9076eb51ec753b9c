"""The pool of engines that the stage sees as one generator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from rlpost.cluster.actor_stacks import SeenActor
from rlpost.cluster.dispatch import Dispatcher
from rlpost.cluster.engine import Engine, EngineState
from rlpost.cluster.engine_roster import EngineRoster, current_manifests
from rlpost.cluster.generator_actor import GeneratorActor
from rlpost.cluster.placement import Placement
from rlpost.cluster.session import wait_for
from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.errors import ActorLostError, DeadlineError, RlpostError
from rlpost.recipe.schema import ClusterConfig
from rlpost.records import GenerationRequest, Rollout
from rlpost.settings import EngineSettings
from rlpost.telemetry.waits import WAITS

ORDERS_EVERY_S = 1.0
LEAVE_TIMEOUT_S = 60.0
"""How long an engine that is to leave may finish what it has; then others answer its requests, in the same words."""


class GeneratorPool:
    """Implements `interfaces.Generator` over several engines; they start with the pool and are awaited at first use.

    Requests wait in one queue and are given out as engines have room (see `Dispatcher`): when they are submitted, and
    whenever an engine has answered. One long poll is always under way at each engine and brings rollouts by the batch.
    While nobody polls, as when the learner starts again, a thread of the pool's own looks after the engines.

    One thread polls; `submit`, `pull_weights`, `resize` and `loads` may be called from others at the same time.
    """

    def __init__(
        self,
        cluster: ClusterConfig,
        placement: Placement,
        *,
        engine: EngineSettings,
        environment: Mapping[str, str],
        deterministic: bool,
        wanted_actors: Callable[[], int | None],
        say: Callable[[str], None],
        actor_class: type[GeneratorActor] = GeneratorActor,
        leave_timeout_s: float = LEAVE_TIMEOUT_S,
    ) -> None:
        """Start as many engines as the cluster file says.

        Args:
            cluster: Names roles and deadlines.
            placement: Devices for engines.
            engine: What each engine is built from.
            environment: Variables of the engines' processes.
            deterministic: Whether routing must follow from the order of issue alone.
            wanted_actors: How many engines somebody has asked for since the last call, None if nobody has; looked at
                once a second while the pool is polled.
            say: Tells the user what became of that.
            actor_class: What runs in an engine's process.
            leave_timeout_s: How long an engine that is to leave may finish what it has.
        """
        self._cluster = cluster
        self._wanted_actors, self._say = wanted_actors, say
        self._lock = threading.Lock()
        """Guards the fields below. Nobody holds it while waiting for an answer, but for the first engines."""
        self._dispatcher = Dispatcher(deterministic=deterministic)
        self._roster = EngineRoster(
            cluster,
            placement,
            engine=engine,
            environment=environment,
            actor_class=actor_class,
            leave_timeout_s=leave_timeout_s,
            say=say,
        )
        self._roster.start(cluster.rollout.actors)
        self._started = False
        self._next_look_s = self._polled_s = time.monotonic()
        self._heard: list[Rollout] = []
        """What engines have answered since the last poll."""
        self._failure: Exception | None = None
        """What ended the thread that looks after the engines."""
        self._closing = threading.Event()
        self._caretaker = threading.Thread(target=self._take_care, name="engines", daemon=True)

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """See `interfaces.Generator`. What an engine refuses is raised by the next `poll`."""
        self._await_start()
        with self._lock:
            self._dispatcher.add(requests)
            self._dispatch()

    def poll(self, timeout_s: float) -> list[Rollout]:
        """See `interfaces.Generator`."""
        self._await_start()
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._follow_orders()
            self._listen(max(0.0, deadline_s - time.monotonic()))
            self._polled_s = time.monotonic()
            with self._lock:
                rollouts, self._heard = self._heard, []
            if rollouts or time.monotonic() >= deadline_s:
                return rollouts

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        """See `interfaces.Generator`. An engine that is starting pulls them too, before its first request.

        An engine that dies meanwhile gives no receipt; the one in its place pulls them before its first request.
        """
        self._await_start()
        with self._lock:
            # At the same time, so that no engine begins to serve older weights in between.
            self._roster.manifests = current_manifests(self._roster.manifests, manifest)
            pulling = self._roster.those(EngineState.SERVING, EngineState.LEAVING)
            pulls = {engine.actor.pull_weights.remote(manifest, keep_kv_cache): engine for engine in pulling}
            for engine in pulling:
                engine.pulls += 1
        try:
            return self._receipts(pulls)
        finally:
            with self._lock:
                for engine in pulling:
                    engine.pulls -= 1

    def abandon(self) -> None:
        """See `interfaces.Generator`."""
        self._await_start()
        with self._lock:
            self._dispatcher.clear()
            self._roster.abandon()
            self._heard.clear()

    def loads(self) -> list[EngineLoad]:
        """See `interfaces.Generator`."""
        with self._lock:
            working = self._roster.those(EngineState.SERVING, EngineState.LEAVING)
            return [engine.load for engine in working if engine.load is not None]

    def resize(self, count: int) -> None:
        """Go on with `count` engines; returns at once, and `poll` sees it through.

        An added engine gets its first request when it holds the weights of the others. One that is to leave finishes
        what it has, or leaves it to the others after a while: the seeds make the answers the same.

        Raises:
            ClusterError: `count` is below 1.
        """
        self._await_start()
        with self._lock:
            self._roster.resize(count)
            self._dispatch()

    def seen(self) -> list[SeenActor]:
        """The engines, for reports of stalls; no waiting, not even for the pool's lock."""
        return self._roster.seen()

    def close(self) -> None:
        """Look after the engines no longer, before Ray's session ends and they with it."""
        self._closing.set()
        if self._caretaker.is_alive():
            self._caretaker.join(timeout=10)

    def _take_care(self) -> None:
        while not self._closing.wait(self._until_care_s()):
            if self._until_care_s() > 0:
                continue
            try:
                self._listen(ORDERS_EVERY_S)
            except Exception as error:  # Of any kind, for the thread that polls next.
                self._failure = error
                return

    def _until_care_s(self) -> float:
        return max(0.0, self._polled_s + ORDERS_EVERY_S - time.monotonic())

    def _receipts(self, pulls: Mapping[Any, Engine]) -> list[WeightReceipt]:
        """Of the engines that lived to give one, in their order."""
        timeout_s = self._cluster.step_timeout_s
        self._await_pulls(pulls, timeout_s=timeout_s)
        receipts: list[WeightReceipt] = []
        for pull, engine in pulls.items():
            try:
                (answer,) = wait_for(f"rollout actor {engine.name} (weight sync)", [pull], timeout_s=timeout_s)
                receipts += answer
            except ActorLostError as error:
                with self._lock:
                    self._roster.bury(engine, error)
        return receipts

    def _await_pulls(self, pulls: Mapping[Any, Engine], *, timeout_s: float) -> None:
        deadline_s, waiting = time.monotonic() + timeout_s, list(pulls)
        names = ", ".join(engine.name for engine in pulls.values())
        with WAITS.until(f"{names} to pull weights", timeout_s=timeout_s):
            while waiting:
                if time.monotonic() > deadline_s:
                    raise DeadlineError(
                        f"the rollout actors must pull new weights within {timeout_s:g} s; {len(waiting)} did not: "
                        "look at their logs, or raise step_timeout_s in the cluster file"
                    )
                _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=ORDERS_EVERY_S)
                if waiting:
                    # Nobody may be polling now, and an engine that has stopped would be waited for in vain.
                    with self._lock:
                        self._roster.bury_silent()
                        self._roster.feel_pulse([pulls[pull] for pull in waiting])

    def _await_start(self) -> None:
        with self._lock:
            if not self._started:
                self._roster.await_first()
                self._started = True
                self._caretaker.start()

    def _follow_orders(self) -> None:
        if time.monotonic() < self._next_look_s:
            return
        self._next_look_s = time.monotonic() + ORDERS_EVERY_S
        try:
            wanted = self._wanted_actors()
            if wanted is not None:
                self.resize(wanted)
        except RlpostError as refusal:
            # A mistake in an order is no reason to end the run.
            self._say(str(refusal))

    def _listen(self, wait_s: float) -> None:
        """Wait for the first answer, then hear all that are there."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            self._roster.check_submissions()
            calls = {engine.call: engine for engine in self._roster.engines}
        answered = _answered(list(calls), wait_s=min(wait_s, ORDERS_EVERY_S))
        with self._lock:
            for call in answered:
                # A resize may have come in between, or another thread that listens.
                if calls[call] in self._roster.engines and calls[call].call is call:
                    self._heard += self._roster.take(calls[call])
            self._dispatcher.put_back(self._roster.move_on())
            self._dispatch()

    def _dispatch(self) -> None:
        for engine, requests in self._dispatcher.assign(self._roster.those(EngineState.SERVING)):
            self._roster.submit(engine, requests)


def _answered(calls: list[Any], *, wait_s: float) -> list[Any]:
    if not calls:  # All engines have died, and the first new one starts in a moment.
        time.sleep(min(wait_s, 0.1))
        return []
    done, others = ray.wait(calls, num_returns=1, timeout=wait_s)
    if done and others:
        done += ray.wait(others, num_returns=len(others), timeout=0)[0]
    return done
