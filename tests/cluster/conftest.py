"""One Ray cluster for all tests that do not end it, and pools on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import ray
from pool_bench import Bench, MakePool
from scripted_engine import ENVIRONMENT, ScriptedActor

from rlpost.cluster.generator_pool import GeneratorPool
from rlpost.cluster.placement import Placement
from rlpost.cluster.session import ray_session
from rlpost.recipe.schema import ClusterConfig, RolloutRole, WatchdogConfig


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on the shared cluster come last, since a process can be in one cluster only."""
    items.sort(key=lambda item: "cluster_of_four" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def cluster_of_four() -> Iterator[None]:
    with ray_session(ClusterConfig(name="test", cpus=4)):
        yield


@pytest.fixture
def make_pool(cluster_of_four: None) -> Iterator[MakePool]:
    made: list[tuple[GeneratorPool, Placement]] = []

    def make(
        *,
        actors: int = 1,
        limit: int = 8,
        deterministic: bool = False,
        start_timeout_s: float = 30.0,
        leave_timeout_s: float = 30.0,
        max_restarts: int = 10,
        silence_timeout_s: float = 30.0,
        on_stall: str = "restart",
        **script: Any,
    ) -> Bench:
        cluster = ClusterConfig(
            name="test",
            rollout=RolloutRole(actors=actors, max_restarts=max_restarts, silence_timeout_s=silence_timeout_s),
            watchdog=WatchdogConfig.model_validate({"on_stall": on_stall}),
            start_timeout_s=start_timeout_s,
            step_timeout_s=30,
        )
        placement, said, orders = Placement(cluster), list[str](), list[int]()
        pool = GeneratorPool(
            cluster,
            placement,
            engine=cast(Any, {"limit": limit, "seconds": {}, **script}),
            environment=ENVIRONMENT,
            deterministic=deterministic,
            wanted_actors=lambda: orders.pop() if orders else None,
            say=said.append,
            actor_class=ScriptedActor,
            leave_timeout_s=leave_timeout_s,
        )
        made.append((pool, placement))
        return Bench(pool, said, orders)

    yield make
    for pool, placement in made:
        pool.close()
        for engine in pool._roster.engines:
            ray.kill(engine.actor)
        ray.util.remove_placement_group(placement._group)
