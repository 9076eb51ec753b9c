"""One engine in its own process, as a Ray actor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import ray

from rlpost.cluster.actor_stacks import Whereabouts, own_whereabouts
from rlpost.cluster.failures import told_apart
from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.errors import ActorLostError
from rlpost.interfaces import Generator
from rlpost.records import Completion, GenerationRequest
from rlpost.settings import EngineSettings

Method = TypeVar("Method", bound=Callable[..., Any])
THREADS = {"submit": 1, "poll": 1, "weights": 1}
"""Ray's concurrency groups: calls in one group run one after another, in order, and concurrently with other groups."""

GATHER_S = 0.02
"""Time that the first completion of an answer waits for others, because one trip to the driver costs as much as many
completions. The engine does not idle meanwhile, since the pool gives it one group more than it works on."""


def in_group(name: str) -> Callable[[Method], Method]:
    """Run an actor's method on the thread of this group. It must be the innermost decorator, because Ray looks for its
    mark there.

    Ray's own type stubs do not treat the decorated function as a method.
    """
    return cast(Any, ray.method(concurrency_group=name))


class PollAnswer(NamedTuple):
    """One answer of an engine to a poll."""

    completions: list[Completion]
    load: EngineLoad


class ClosableGenerator(Generator, Protocol):
    """The generator that an engine's process holds."""

    def close(self) -> None:
        """Free its resources."""
        ...


class GeneratorActor:
    """One `VllmGenerator` in its own process; vllm is imported here, after the actor's environment is set.

    `ray.method` is the innermost decorator of each method, because Ray looks for its mark below all other decorators.
    """

    _generator: ClosableGenerator
    """Created by `ready` and not by `__init__`, so that a process that hangs there can be located."""

    def __init__(self, settings: EngineSettings, name: str) -> None:
        self._settings, self._name = settings, name
        # Two counters with one writing thread each need no lock.
        self._submitted = 0
        self._returned = 0

    def _build(self, settings: EngineSettings, name: str) -> ClosableGenerator:
        from rlpost.rollout.vllm_generator import VllmGenerator

        return VllmGenerator(settings, name=name)

    @in_group("submit")
    def whereabouts(self) -> Whereabouts:
        """Return the location of this process, for stall reports; this group's thread is free while the engine
        starts.
        """
        return own_whereabouts()

    @told_apart("the engine", ActorLostError)
    def ready(self) -> EngineLoad:
        """Start the engine; the call returns once it serves."""
        self._generator = self._build(self._settings, self._name)
        return self._generator.loads()[0]

    @told_apart("the engine", ActorLostError)
    @in_group("submit")
    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """See `interfaces.Generator`."""
        # Counted first, so that a concurrent poll never takes the engine for idle.
        self._submitted += len(requests)
        self._generator.submit(requests)

    @told_apart("the engine", ActorLostError)
    @in_group("poll")
    def poll(self, timeout_s: float) -> PollAnswer:
        """Return the load and what was finished since the last call; wait up to `timeout_s`, plus a little for more."""
        completions = self._generator.poll(timeout_s)
        deadline_s = time.monotonic() + GATHER_S
        while completions and self._others_run(completions) and (left_s := deadline_s - time.monotonic()) > 0:
            completions += self._generator.poll(left_s)
        self._returned += len(completions)
        return PollAnswer(completions, self._generator.loads()[0])

    @told_apart("the engine", ActorLostError)
    @in_group("poll")
    def abandon(self) -> None:
        """See `interfaces.Generator`; call it only when no submission is in progress."""
        self._generator.abandon()
        self._submitted = self._returned = 0

    @told_apart("the engine", ActorLostError)
    @in_group("weights")
    def pull_weights(self, manifest: WeightManifest, keep_kv_cache: bool) -> list[WeightReceipt]:
        """See `interfaces.Generator`."""
        return self._generator.pull_weights(manifest, keep_kv_cache=keep_kv_cache)

    @told_apart("the engine", ActorLostError)
    @in_group("weights")
    def catch_up(self, manifests: Sequence[WeightManifest]) -> EngineLoad:
        """Pull the weights that the other engines have, before the first request."""
        for manifest in manifests:
            self._generator.pull_weights(manifest, keep_kv_cache=False)
        return self._generator.loads()[0]

    def close(self) -> None:
        """Free the engine's memory and end its workers."""
        self._generator.close()

    def _others_run(self, completions: Sequence[Completion]) -> bool:
        return self._submitted > self._returned + len(completions)
