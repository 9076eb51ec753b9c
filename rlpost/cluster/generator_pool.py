"""vLLM engines as Ray actors, and the pool of them that the stage sees as one generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from rlpost.cluster.placement import Placement
from rlpost.cluster.session import wait_for
from rlpost.recipe.schema import ClusterConfig
from rlpost.records import GenerationRequest, Rollout, WeightManifest, WeightReceipt


class GeneratorActor:
    """One engine in one process; vllm is imported here, after the actor's environment is set."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        from rlpost.rollout.vllm_generator import VllmGenerator

        self._generator = VllmGenerator(**arguments)

    def ready(self) -> bool:
        """Answers once the engine serves."""
        return True

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """See `interfaces.Generator`."""
        self._generator.submit(requests)

    def poll(self, timeout_s: float) -> list[Rollout]:
        """See `interfaces.Generator`."""
        return self._generator.poll(timeout_s)

    def pull_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """See `interfaces.Generator`."""
        return self._generator.pull_weights(manifest)


class GeneratorPool:
    """Implements `interfaces.Generator` over several engines; engines start with the pool and are awaited at first use.

    All samples of a prompt go to one engine, which then computes the prompt once. In deterministic mode the engine is
    chosen by counting, otherwise it is the one with the fewest responses in flight.
    """

    def __init__(
        self,
        cluster: ClusterConfig,
        placement: Placement,
        *,
        engine_arguments: dict[str, Any],
        environment: dict[str, str],
        deterministic: bool,
    ) -> None:
        self._cluster = cluster
        self._deterministic = deterministic
        remote_class = ray.remote(GeneratorActor)
        self.actors: list[Any] = [
            remote_class.options(
                **placement.rollout(index), max_concurrency=4, runtime_env={"env_vars": environment}
            ).remote({**engine_arguments, "name": f"rollout-{index}"})
            for index in range(cluster.rollout.actors)
        ]
        self._starting: list[Any] = [actor.ready.remote() for actor in self.actors]
        self._in_flight = [0] * len(self.actors)
        self._polls: dict[Any, int] = {}
        self._submitted: list[Any] = []
        self._prompts_routed = 0

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """See `interfaces.Generator`."""
        self._await_start()
        for actor, part in self._route(requests).items():
            self._in_flight[actor] += len(part)
            self._submitted.append(self.actors[actor].submit.remote(part))

    def poll(self, timeout_s: float) -> list[Rollout]:
        """See `interfaces.Generator`."""
        self._check_submissions()
        polled = set(self._polls.values())
        for actor, in_flight in enumerate(self._in_flight):
            if in_flight and actor not in polled:
                self._polls[self.actors[actor].poll.remote(min(timeout_s, 1.0))] = actor
        if not self._polls:
            return []
        answered, _ = ray.wait(list(self._polls), num_returns=1, timeout=timeout_s + 0.05)
        rollouts: list[Rollout] = []
        for answer in answered:
            actor = self._polls.pop(answer)
            (finished,) = wait_for(f"rollout actor {actor}", [answer], timeout_s=self._cluster.step_timeout_s)
            self._in_flight[actor] -= len(finished)
            rollouts += finished
        return rollouts

    def pull_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """See `interfaces.Generator`."""
        self._await_start()
        pulls = [actor.pull_weights.remote(manifest) for actor in self.actors]
        answers = wait_for("the rollout actors (weight sync)", pulls, timeout_s=self._cluster.step_timeout_s)
        return [receipt for receipts in answers for receipt in receipts]

    def _await_start(self) -> None:
        if self._starting:
            wait_for("the rollout actors", self._starting, timeout_s=self._cluster.start_timeout_s)
            self._starting = []

    def _check_submissions(self) -> None:
        """Errors of submissions surface at the next poll."""
        if self._submitted:
            done, self._submitted = ray.wait(self._submitted, num_returns=len(self._submitted), timeout=0)
            wait_for("a rollout actor", done, timeout_s=self._cluster.step_timeout_s)

    def _route(self, requests: Sequence[GenerationRequest]) -> dict[int, list[GenerationRequest]]:
        parts: dict[int, list[GenerationRequest]] = {}
        chosen: dict[str, int] = {}
        load = list(self._in_flight)
        for request in requests:
            prompt = request.key[0]
            if prompt not in chosen:
                by_count = self._prompts_routed % len(self.actors)
                chosen[prompt] = by_count if self._deterministic else load.index(min(load))
                self._prompts_routed += 1
            load[chosen[prompt]] += 1
            parts.setdefault(chosen[prompt], []).append(request)
        return parts
