"""The engines of a run: each starts, catches up with the weights, serves, leaves and ends while the others work.

An engine whose process dies or falls silent is replaced by a new one; the other engines answer its requests.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from rlpost.cluster.actor_stacks import SeenActor
from rlpost.cluster.engine import Engine, EngineState
from rlpost.cluster.generator_actor import THREADS, GeneratorActor, PollAnswer
from rlpost.cluster.placement import Placement
from rlpost.cluster.restarts import RestartBudget
from rlpost.cluster.session import wait_for
from rlpost.engine_records import EngineLoad, WeightManifest
from rlpost.errors import ActorLostError, ClusterError, DeadlineError, RlpostError
from rlpost.recipe.schema import ClusterConfig
from rlpost.records import Completion, GenerationRequest
from rlpost.settings import EngineSettings
from rlpost.telemetry.waits import WAITS

LONG_POLL_S = 1.0
END_TIMEOUT_S = 30.0


class EngineRoster:
    """The engines of a pool. Not thread-safe: the pool holds its lock around every call."""

    def __init__(
        self,
        cluster: ClusterConfig,
        placement: Placement,
        *,
        engine: EngineSettings,
        environment: Mapping[str, str],
        actor_class: type[GeneratorActor],
        leave_timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._cluster, self._placement = cluster, placement
        self._engine, self._environment = engine, environment
        # ray's type stubs know neither this option nor its result.
        remote: Any = ray.remote
        self._remote_class = remote(concurrency_groups=THREADS)(actor_class)
        self._leave_timeout_s = leave_timeout_s
        self._say = say
        self._budget = RestartBudget(
            "rollout actors died", most=cluster.rollout.max_restarts, setting="rollout.max_restarts of the cluster file"
        )
        self._restarts_due_s: list[float] = []
        self._orphans: list[GenerationRequest] = []
        """Requests that dead engines have left unanswered."""
        self.engines: list[Engine] = []
        self.manifests: tuple[WeightManifest, ...] = ()
        """Weights that an engine must pull, in this order, to be up to date; empty while the initial model is."""

    def those(self, *states: EngineState) -> list[Engine]:
        """Return the engines that are in one of these states."""
        return [engine for engine in self.engines if engine.state in states]

    @property
    def deaths(self) -> int:
        """Number of engines that died since the start of the run."""
        return self._budget.total

    def start(self, count: int, *, replaces: bool = False) -> None:
        """Start this many more engines in the lowest free slots."""
        taken = {engine.place for engine in self.engines}
        free = [place for place in range(len(taken) + count) if place not in taken]
        for place in free[:count]:
            options = {**self._placement.rollout(place), "runtime_env": {"env_vars": dict(self._environment)}}
            actor = self._remote_class.options(**options).remote(self._engine, f"rollout-{place}")
            started = Engine(
                place=place,
                actor=actor,
                call=actor.ready.remote(),
                whereabouts=actor.whereabouts.remote(),
                replaces=replaces,
            )
            started.deadline_s = time.monotonic() + self._cluster.start_timeout_s
            self.engines.append(started)

    def seen(self) -> list[SeenActor]:
        """Return the engines for stall reports. It does not take the pool's lock, for which other threads may be
        waiting.
        """
        now_s, silence_s = time.monotonic(), self._cluster.rollout.silence_timeout_s
        return [
            SeenActor(
                name=f"rollout actor {engine.name}",
                state=engine.in_words(
                    has_answered=bool(ray.wait([engine.call], timeout=0)[0]), now_s=now_s, silence_timeout_s=silence_s
                ),
                whereabouts=engine.whereabouts,
            )
            for engine in list(self.engines)
        ]

    def await_first(self) -> None:
        """Wait until the first engines of the pool are serving.

        Raises:
            RlpostError: one of them did not start.
        """
        calls = [engine.call for engine in self.engines]
        loads = wait_for("the rollout actors", calls, timeout_s=self._cluster.start_timeout_s)
        for engine, load in zip(self.engines, loads, strict=True):
            self._serve(engine, load)

    def resize(self, count: int) -> None:
        """Change the number of engines to `count`: call leaving ones back, let the last ones leave, or start more.

        Raises:
            ClusterError: `count` is below 1.
        """
        if count < 1:
            raise ClusterError(f"a run that generates needs at least 1 rollout actor; asked for {count}")
        self.start(len(self._restarts_due_s), replaces=True)
        self._restarts_due_s.clear()
        staying = self.those(EngineState.STARTING, EngineState.STALE, EngineState.SERVING)
        before = len(staying)
        for engine in self.those(EngineState.LEAVING)[: max(0, count - before)]:
            engine.state, engine.deadline_s = EngineState.SERVING, math.inf
            staying.append(engine)
        # Engines that do not serve yet leave first, then those with the highest slots.
        staying.sort(key=lambda engine: (engine.state is not EngineState.SERVING, engine.place))
        for engine in staying[count:]:
            self._leave(engine)
        self.start(max(0, count - len(staying)))
        if count != before:
            self._say(f"rollout actors: {before} -> {count}")

    def submit(self, engine: Engine, requests: Sequence[GenerationRequest]) -> None:
        """Send requests that are recorded as in flight on the engine; `check_submissions` raises the engine's
        errors.
        """
        engine.submissions.append(engine.actor.submit.remote(requests))

    def check_submissions(self) -> None:
        """Raise errors that engines reported about their requests, without waiting. `take` handles a death."""
        for engine in self.engines:
            if engine.submissions:
                done, engine.submissions = ray.wait(engine.submissions, num_returns=len(engine.submissions), timeout=0)
                with contextlib.suppress(ActorLostError):
                    wait_for(f"rollout actor {engine.name}", done, timeout_s=self._cluster.step_timeout_s)

    def abandon(self) -> None:
        """Make the engines drop all requests, and forget them here. `take` handles a death."""
        at_work = self.those(EngineState.SERVING, EngineState.LEAVING)
        timeout_s = self._cluster.rollout.silence_timeout_s
        for engine in at_work:
            with contextlib.suppress(ActorLostError, DeadlineError):
                wait_for(f"rollout actor {engine.name}", engine.submissions, timeout_s=timeout_s)
                # After the current poll, whose answer is of no use either.
                wait_for(f"rollout actor {engine.name}", [engine.actor.abandon.remote()], timeout_s=timeout_s)
                wait_for(f"rollout actor {engine.name}", [engine.call], timeout_s=timeout_s)
                self._listen(engine)
            engine.submissions.clear()
            engine.in_flight.clear()
        self._orphans.clear()

    def read_answer(self, engine: Engine) -> list[Completion]:
        """Read the received answer to the engine's call, and make the next call.

        Raises:
            RlpostError: an engine with requests failed.
        """
        try:
            (answer,) = wait_for(f"rollout actor {engine.name}", [engine.call], timeout_s=self._cluster.step_timeout_s)
        except RlpostError as error:
            self._survive(engine, error)
            return []
        match engine.state:
            case EngineState.STARTING:
                engine.load = answer
                self._catch_up(engine)
            case EngineState.STALE if engine.holds is not self.manifests:
                self._catch_up(engine)
            case EngineState.STALE:
                self._serve(engine, answer)
                self._say(f"rollout actor {engine.name} serves")
            case EngineState.SERVING | EngineState.LEAVING:
                return self._hear(engine, answer)
            case EngineState.ENDING:
                self._drop(engine)
        return []

    def move_on(self) -> list[GenerationRequest]:
        """Replace dead engines, end engines that have left, and give up on overdue ones.

        Returns:
            Requests that other engines must answer instead.

        Raises:
            ClusterError: more engines have died than the cluster file allows.
        """
        now_s = time.monotonic()
        self.bury_silent()
        due = [due_s for due_s in self._restarts_due_s if due_s <= now_s]
        if due:
            self._restarts_due_s = [due_s for due_s in self._restarts_due_s if due_s > now_s]
            self.start(len(due), replaces=True)
        given_up, self._orphans = self._orphans, []
        return given_up + self._give_up_overdue(now_s)

    def bury(self, engine: Engine, error: ClusterError) -> None:
        """Pass on the requests of a dead engine to the others, and schedule its replacement; only the first call acts.

        Raises:
            ClusterError: more engines have died than the cluster file allows.
        """
        if engine not in self.engines:
            return
        self._orphans += engine.in_flight.values()
        self._drop(engine)
        pause_s = self._budget.pause_s(error, now_s=time.monotonic())
        orphans = f"; the others answer its {len(engine.in_flight)} requests" if engine.in_flight else ""
        successor = ""
        if engine.state is not EngineState.LEAVING:
            self._restarts_due_s.append(time.monotonic() + pause_s)
            successor = f"; a new one starts in {pause_s:g} s"
        # Ray's account of a death fills a page; other reasons are a single line.
        reason = "" if "\n" in str(error) else f" ({error})"
        self._say(f"rollout actor {engine.name} was lost while it was {engine.state}{orphans}{successor}{reason}")
        WAITS.note(f"rollout actor {engine.name} is replaced", by_itself=False)

    def bury_silent(self) -> None:
        """Kill working engines that have been silent for too long; they count as dead.

        Raises:
            DeadlineError: the cluster file says to stop the run in this case.
            ClusterError: see `move_on`.
        """
        now_s, limit_s = time.monotonic(), self._cluster.rollout.silence_timeout_s
        for engine in self.those(EngineState.SERVING, EngineState.LEAVING):
            # An unread answer means that the driver is late, not the engine.
            if now_s > engine.answer_due_s and not ray.wait([engine.call], timeout=0)[0]:
                self._bury_overdue(engine, f"said nothing for {limit_s:g} s")

    def feel_pulse(self, engines: Sequence[Engine]) -> None:
        """Check that these engines are alive; an engine whose answer is overdue is killed and counts as dead.

        Raises:
            DeadlineError: the cluster file says to stop the run in this case.
            ClusterError: see `move_on`.
        """
        limit_s = self._cluster.rollout.silence_timeout_s
        for engine in [engine for engine in engines if engine in self.engines]:
            if engine.pulse is None or ray.wait([engine.pulse], timeout=0)[0]:
                engine.pulse, engine.pulse_due_s = engine.actor.whereabouts.remote(), time.monotonic() + limit_s
            elif time.monotonic() > engine.pulse_due_s:
                self._bury_overdue(engine, f"said nothing for {limit_s:g} s")

    def _bury_overdue(self, engine: Engine, what: str) -> None:
        """Replace the engine, or stop the run; a stall report is written first, while the process still exists."""
        text = f"rollout actor {engine.name} {what}"
        report = WAITS.report(text)
        if self._cluster.watchdog.on_stall == "stop":
            stalled = DeadlineError(
                f"{text}, and watchdog.on_stall of the cluster file is stop: look at the report, raise the timeout, or "
                "set it to restart"
            )
            stalled.report = report
            raise stalled
        self.bury(engine, ActorLostError(text))

    def _give_up_overdue(self, now_s: float) -> list[GenerationRequest]:
        overdue = [engine for engine in self.engines if now_s > engine.deadline_s and not engine.pulls]
        for engine in [engine for engine in overdue if engine.replaces and engine.state is not EngineState.LEAVING]:
            overdue.remove(engine)
            self._bury_overdue(engine, f"was not ready after {self._cluster.start_timeout_s:g} s")
        unplaced = [engine for engine in overdue if engine.state in (EngineState.STARTING, EngineState.STALE)]
        if unplaced:
            self._say(
                f"an added rollout actor must find devices and start within {self._cluster.start_timeout_s:g} s; "
                f"{len(unplaced)} did not, the cluster has {ray.available_resources()} free: the run goes on with "
                f"{len(self.engines) - len(unplaced)}; free devices or raise start_timeout_s, then ask again"
            )
        given_up: list[GenerationRequest] = []
        for engine in overdue:
            if engine.state is EngineState.LEAVING:
                given_up += engine.in_flight.values()
                engine.in_flight.clear()
            else:
                self._drop(engine)
        for engine in self.those(EngineState.LEAVING):
            if not engine.in_flight and not engine.pulls:
                self._end(engine)
        return given_up

    def _serve(self, engine: Engine, load: EngineLoad) -> None:
        engine.state, engine.load, engine.deadline_s = EngineState.SERVING, load, math.inf
        engine.replaces = False
        self._listen(engine)
        WAITS.note(f"rollout actor {engine.name} serves")

    def _listen(self, engine: Engine) -> None:
        engine.call = engine.actor.poll.remote(LONG_POLL_S)
        engine.answer_due_s = time.monotonic() + LONG_POLL_S + self._cluster.rollout.silence_timeout_s

    def _hear(self, engine: Engine, answer: PollAnswer) -> list[Completion]:
        engine.load = answer.load
        for completion in answer.completions:
            assert completion.key in engine.in_flight, f"{engine.name} was not asked for {completion.key}"
            del engine.in_flight[completion.key]
        self._listen(engine)
        return answer.completions

    def _catch_up(self, engine: Engine) -> None:
        """Make a stale engine pull the weights; called again if the others have pulled newer ones in the meantime."""
        engine.state, engine.holds = EngineState.STALE, self.manifests
        engine.call = engine.actor.catch_up.remote(self.manifests)

    def _leave(self, engine: Engine) -> None:
        if engine.state is EngineState.SERVING:
            engine.state, engine.deadline_s = EngineState.LEAVING, time.monotonic() + self._leave_timeout_s
        else:
            self._drop(engine)

    def _end(self, engine: Engine) -> None:
        engine.state, engine.deadline_s = EngineState.ENDING, time.monotonic() + END_TIMEOUT_S
        engine.call = engine.actor.close.remote()

    def _drop(self, engine: Engine) -> None:
        ray.kill(engine.actor)
        self.engines.remove(engine)

    def _survive(self, engine: Engine, error: RlpostError) -> None:
        """Replace an engine that died; drop an added engine that failed to start; for every other error end the run.

        A replacement is tried again after any error, because the devices of the dead engine may not be free yet.
        """
        at_work = engine.state in (EngineState.SERVING, EngineState.LEAVING)
        if isinstance(error, ActorLostError if at_work else ClusterError) and (at_work or engine.replaces):
            self.bury(engine, error)
            return
        if engine.state is EngineState.STALE and engine.holds is not self.manifests:
            # The weight file that it was told to load may have been deleted by now.
            self._catch_up(engine)
            return
        if at_work or engine.replaces:
            raise error
        self._drop(engine)
        self._say(f"rollout actor {engine.name} failed while it was {engine.state}; the others go on: {error}")


def current_manifests(before: Sequence[WeightManifest], pulled: WeightManifest) -> tuple[WeightManifest, ...]:
    """Return the weights that bring a new engine up to date: the last whole model, and the last adapter on top of
    it.
    """
    if pulled.kind == "full":
        return (pulled,)
    return (*(manifest for manifest in before if manifest.kind == "full"), pulled)
