"""The pool of engines, which a stage uses as one generator."""

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
from rlpost.records import Completion, GenerationRequest
from rlpost.settings import EngineSettings
from rlpost.telemetry.waits import WAITS

ORDERS_EVERY_S = 1.0
LEAVE_TIMEOUT_S = 60.0
"""Time in which a leaving engine may finish its requests; then other engines answer them, with the same tokens."""


class GeneratorPool:
    """Implements `interfaces.Generator` over several engines. They start with the pool, and the first use waits for
    them.

    Requests wait in one queue and are assigned when they are submitted and whenever an engine has answered (see
    `Dispatcher`). One long poll is always open at each engine and returns completions in batches. While nobody polls,
    for example while the learner restarts, a thread of the pool supervises the engines.

    Only one thread may call `poll`; `submit`, `pull_weights`, `resize` and `loads` are thread-safe.
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
            cluster: Roles and deadlines.
            placement: Devices for the engines.
            engine: Settings of each engine.
            environment: Environment variables of the engines' processes.
            deterministic: Whether the assignment must follow from the order of issue alone.
            wanted_actors: Returns how many engines a user has asked for since the last call, or None; called once a
                second while the pool is polled.
            say: Prints the outcome of such a request.
            actor_class: Class that runs in an engine's process.
            leave_timeout_s: Time in which a leaving engine may finish its requests.
        """
        self._cluster = cluster
        self._wanted_actors, self._say = wanted_actors, say
        self._lock = threading.Lock()
        """Guards the fields below. It is not held while waiting for an answer, except for the start of the first
        engines."""
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
        self._heard: list[Completion] = []
        """Completions received since the last poll."""
        self._failure: Exception | None = None
        """The error that ended the supervising thread."""
        self._closing = threading.Event()
        self._caretaker = threading.Thread(target=self._take_care, name="engines", daemon=True)

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """See `interfaces.Generator`. An engine's error about its requests is raised by the next `poll`."""
        self._await_start()
        with self._lock:
            self._dispatcher.add(requests)
            self._dispatch()

    def poll(self, timeout_s: float) -> list[Completion]:
        """See `interfaces.Generator`."""
        self._await_start()
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._follow_orders()
            self._listen(max(0.0, deadline_s - time.monotonic()))
            self._polled_s = time.monotonic()
            with self._lock:
                completions, self._heard = self._heard, []
            if completions or time.monotonic() >= deadline_s:
                return completions

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        """See `interfaces.Generator`. A starting engine pulls these weights too, before its first request.

        An engine that dies in the meantime gives no receipt; its replacement pulls the weights before its first
        request.
        """
        self._await_start()
        with self._lock:
            # Under the same lock, so that no engine begins to serve older weights in between.
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
        """Change the number of engines to `count`. It returns at once; `poll` completes the change.

        An added engine gets its first request once it holds the weights of the others. A leaving engine finishes its
        requests, or after a while the others answer them; the seeds make the answers the same.

        Raises:
            ClusterError: `count` is below 1.
        """
        self._await_start()
        with self._lock:
            self._roster.resize(count)
            self._dispatch()

    def seen(self) -> list[SeenActor]:
        """Return the engines for stall reports, without waiting, not even for the pool's lock."""
        return self._roster.seen()

    def close(self) -> None:
        """End the supervising thread, before Ray's session ends the engines."""
        self._closing.set()
        if self._caretaker.is_alive():
            self._caretaker.join(timeout=10)

    def _take_care(self) -> None:
        while not self._closing.wait(self._until_care_s()):
            if self._until_care_s() > 0:
                continue
            try:
                self._listen(ORDERS_EVERY_S)
            except Exception as error:  # Any error is kept for the thread that polls next.
                self._failure = error
                return

    def _until_care_s(self) -> float:
        return max(0.0, self._polled_s + ORDERS_EVERY_S - time.monotonic())

    def _receipts(self, pulls: Mapping[Any, Engine]) -> list[WeightReceipt]:
        """Return the receipts, in order; an engine that died gives none."""
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
                    # Possibly nobody is polling now, and a dead engine would never answer.
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
            # A mistake in a request to scale must not end the run.
            self._say(str(refusal))

    def _listen(self, wait_s: float) -> None:
        """Wait for the first answer, then process all answers that are there."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            self._roster.check_submissions()
            calls = {engine.call: engine for engine in self._roster.engines}
        answered = _answered(list(calls), wait_s=min(wait_s, ORDERS_EVERY_S))
        with self._lock:
            for call in answered:
                # A resize or another listening thread may have taken the answer in between.
                if calls[call] in self._roster.engines and calls[call].call is call:
                    self._heard += self._roster.read_answer(calls[call])
            self._dispatcher.put_back(self._roster.move_on())
            self._dispatch()

    def _dispatch(self) -> None:
        for engine, requests in self._dispatcher.assign(self._roster.those(EngineState.SERVING)):
            self._roster.submit(engine, requests)


def _answered(calls: list[Any], *, wait_s: float) -> list[Any]:
    if not calls:  # All engines have died, and the first replacement starts soon.
        time.sleep(min(wait_s, 0.1))
        return []
    done, others = ray.wait(calls, num_returns=1, timeout=wait_s)
    if done and others:
        done += ray.wait(others, num_returns=len(others), timeout=0)[0]
    return done
