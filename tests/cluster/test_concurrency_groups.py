"""An engine's process takes requests and weights while a poll waits: each call has a thread of its own group."""

from __future__ import annotations

import inspect

from rlpost.cluster.generator_actor import THREADS, GeneratorActor


def test_every_call_at_work_has_its_group_where_ray_looks_for_it() -> None:
    groups = {
        name: getattr(inspect.unwrap(method), "__ray_concurrency_group__", None)
        for name, method in inspect.getmembers(GeneratorActor, inspect.isfunction)
        if not name.startswith("_")
    }
    assert groups == {
        "whereabouts": "submit",
        "submit": "submit",
        "poll": "poll",
        "abandon": "poll",
        "pull_weights": "weights",
        "catch_up": "weights",
        "ready": None,
        "close": None,
    }
    assert {group for group in groups.values() if group} == set(THREADS)
