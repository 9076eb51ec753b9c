"""The location of the actors of a run, and their stacks, each taken on the actor's own node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlpost.telemetry.stacks import PY_SPY_TIMEOUT_S, stacks_of
from rlpost.telemetry.stall_report import Part

_AT_A_TIME = 8
_OTHER_NODES_TIMEOUT_S = 3 * PY_SPY_TIMEOUT_S
"""This includes the time to start a process on the other node."""


class Whereabouts(NamedTuple):
    """The location of an actor's process."""

    node: str
    """Ray's id of the node."""
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenActor:
    """An actor, as its supervisor sees it."""

    name: str
    state: str
    """The state in one line."""
    whereabouts: Any
    """Reference to the answer of `own_whereabouts`, requested when the actor started."""


def own_whereabouts() -> Whereabouts:
    """Return the location of this process; an actor calls it about itself."""
    return Whereabouts(ray.get_runtime_context().get_node_id(), os.getpid())


def parts_of(actors: Sequence[SeenActor], *, here: str | None = None) -> list[Part]:
    """Return the states and stacks of actors; instead of missing stacks, the reason why they are missing.

    Args:
        actors: Actors in the order of the report.
        here: The driver's node; on other nodes a Ray task takes the stacks.
    """
    here = ray.get_runtime_context().get_node_id() if here is None else here
    found = [_answered(actor.whereabouts) for actor in actors]
    by_node: dict[str, list[int]] = {}
    for place in found:
        if place is not None:
            by_node.setdefault(place.node, []).append(place.pid)
    calls = {node: _ask_node(node, pids) for node, pids in by_node.items() if node != here}
    stacks = {(here, pid): text for pid, text in _stacks_of_all(by_node.get(here, [])).items()}
    for node, call in calls.items():
        stacks |= {(node, pid): text for pid, text in _told_by_node(call, by_node[node]).items()}
    return [_part(actor, place, stacks) for actor, place in zip(actors, found, strict=True)]


def _part(actor: SeenActor, place: Whereabouts | None, stacks: dict[tuple[str, int], str]) -> Part:
    if place is None:
        return Part(actor.name, actor.state, "  its process has not started, or is gone")
    return Part(actor.name, f"{actor.state}; process {place.pid} on node {place.node[:8]}", stacks[place])


def _answered(call: Any) -> Whereabouts | None:
    """Return the answer; None if the process does not exist yet, or ended before it could answer."""
    try:
        return ray.get(call, timeout=0) if ray.wait([call], timeout=0)[0] else None
    except RayError:
        return None


def _stacks_of_all(pids: Sequence[int]) -> dict[int, str]:
    """Return the stacks of several processes on this node."""
    with ThreadPoolExecutor(max_workers=_AT_A_TIME, thread_name_prefix="py-spy") as executor:
        return dict(zip(pids, executor.map(stacks_of, pids), strict=True))


def _ask_node(node: str, pids: Sequence[int]) -> Any:
    remote: Any = ray.remote(num_cpus=0, max_retries=0)
    return (
        remote(_stacks_of_all)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False))
        .remote(pids)
    )


def _told_by_node(call: Any, pids: Sequence[int]) -> dict[int, str]:
    try:
        return ray.get(call, timeout=_OTHER_NODES_TIMEOUT_S)
    except RayError as error:
        return dict.fromkeys(pids, f"  its node gave no stacks ({type(error).__name__})")
