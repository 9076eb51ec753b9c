"""Devices for roles: requests all of a run's actors from Ray at once, and reports if the cluster cannot place them."""

from __future__ import annotations

import os
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlpost.errors import RecipeError, UnavailableError
from rlpost.recipe.schema import ClusterConfig, LearnerRole, RolloutRole
from rlpost.telemetry.waits import WAITS


class Placement:
    """One bundle per actor: learner ranks first, rollout actors after them."""

    def __init__(self, cluster: ClusterConfig) -> None:
        self._cluster = cluster
        bundles = _bundles(cluster)
        self._group: PlacementGroup = placement_group(bundles, strategy="PACK")
        with WAITS.until("devices of the cluster", timeout_s=cluster.start_timeout_s):
            is_placed = self._group.wait(timeout_seconds=cluster.start_timeout_s)
        if not is_placed:
            remove_placement_group(self._group)
            raise UnavailableError(
                f"the cluster must have room for {cluster.learner.ranks} learner ranks and {cluster.rollout.actors} "
                f"rollout actors ({bundles}); it has {ray.cluster_resources()} and did not free it within "
                f"{cluster.start_timeout_s:g} s: lower the roles of the cluster file, or raise start_timeout_s"
            )

    def learner(self, rank: int) -> dict[str, Any]:
        """Return the options of a learner actor."""
        return self._options(rank, _learner_bundle(self._cluster.learner))

    def rollout(self, place: int) -> dict[str, Any]:
        """Return the options of a rollout actor; slots beyond those of the cluster file use any free resources."""
        resources = _rollout_bundle(self._cluster.rollout)
        if place >= self._cluster.rollout.actors:
            return _any_place(resources)
        return self._options(self._cluster.learner.ranks + place, resources)

    def _options(self, bundle: int, resources: dict[str, float]) -> dict[str, Any]:
        strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle)
        return {**_any_place(resources), "scheduling_strategy": strategy}


def check_machine(cluster: ClusterConfig) -> None:
    """Check that this machine has the devices that the roles need, before a private Ray cluster is started on it.

    Raises:
        RecipeError: it has too few.
    """
    import torch  # Actors import this module too, before they need torch.

    bundles = _bundles(cluster)
    wanted = {device: sum(bundle.get(device, 0) for bundle in bundles) for device in ("CPU", "GPU")}
    found = {"CPU": cluster.cpus or os.cpu_count() or 1, "GPU": torch.cuda.device_count() if wanted["GPU"] else 0}
    for device, count in wanted.items():
        if count > found[device]:
            raise RecipeError(
                f"this machine must have {count:g} {device}s for {cluster.learner.ranks} learner ranks on "
                f"{cluster.learner.device} and {cluster.rollout.actors} rollout actors on {cluster.rollout.device}; it "
                f"has {found[device]}: lower learner.ranks or rollout.actors in the cluster file"
                + (", or set cpus to let more of them share a core" if device == "CPU" else "")
            )


def _any_place(resources: dict[str, float]) -> dict[str, Any]:
    # Otherwise Ray's control service would record each call: 60 MiB in 8 minutes of polling.
    return {"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0), "enable_task_events": False}


def _bundles(cluster: ClusterConfig) -> list[dict[str, float]]:
    learners = [_learner_bundle(cluster.learner) for _ in range(cluster.learner.ranks)]
    return learners + [_rollout_bundle(cluster.rollout) for _ in range(cluster.rollout.actors)]


def _learner_bundle(role: LearnerRole) -> dict[str, float]:
    return {"CPU": 1.0, "GPU": 1.0} if role.device == "cuda" else {"CPU": 0.5}


def _rollout_bundle(role: RolloutRole) -> dict[str, float]:
    # On CPU, learner and engine take turns on the same cores, so each counts as half a core.
    return {"CPU": 1.0, "GPU": float(role.tensor_parallel)} if role.device == "cuda" else {"CPU": 0.5}
