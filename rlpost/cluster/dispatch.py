"""Assigns requests to engines: groups wait in one queue and go to the engine with the most room."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from rlpost.cluster.engine import Engine
from rlpost.records import GenerationRequest


class Assignment(NamedTuple):
    """The requests that one engine gets now."""

    engine: Engine
    requests: list[GenerationRequest]


class Dispatcher:
    """The queue of the pool. All samples of a prompt go to one engine, which then computes the prompt only once.

    The room of an engine is the number of requests that it says it can work on, plus one group of backlog, minus the
    requests that it already has. A slow engine therefore gets less, and no engine idles while its next group is on the
    way. Urgent requests do not wait for room.

    In deterministic mode, the engine follows from the prompt's position in the order of issue, which is the index in
    its key `<index>:<prompt id>`, so that a resumed run makes the same assignments. Groups then do not wait for room,
    so that an engine gets equal batches in equal runs.
    """

    def __init__(self, *, deterministic: bool) -> None:
        self._deterministic = deterministic
        self._groups: deque[list[GenerationRequest]] = deque()
        self._groups_routed = 0

    def add(self, requests: Iterable[GenerationRequest]) -> None:
        """Append requests to the queue, or prepend urgent ones; samples of one prompt must be adjacent."""
        groups = _groups(requests)
        self._groups.extendleft(group for group in reversed(groups) if group[0].urgent)
        self._groups.extend(group for group in groups if not group[0].urgent)

    def put_back(self, requests: Iterable[GenerationRequest]) -> None:
        """Put requests before all others, because they were issued earlier."""
        self._groups.extendleft(reversed(_groups(requests)))

    def clear(self) -> None:
        """Drop all requests that are waiting."""
        self._groups.clear()

    def assign(self, engines: Sequence[Engine]) -> list[Assignment]:
        """Take requests from the queue as far as the engines have room, and record them as in flight on the engines."""
        given: dict[Engine, list[GenerationRequest]] = {}
        while self._groups and (engine := self._engine_for(self._groups[0], engines)) is not None:
            group = self._groups.popleft()
            self._groups_routed += 1
            for request in group:
                assert request.key not in engine.in_flight, f"{request.key} is in flight already"
                engine.in_flight[request.key] = request
            given.setdefault(engine, []).extend(group)
        return [Assignment(engine, requests) for engine, requests in given.items()]

    def _engine_for(self, group: Sequence[GenerationRequest], engines: Sequence[Engine]) -> Engine | None:
        if not engines:
            return None
        if self._deterministic:
            in_order = sorted(engines, key=lambda engine: engine.place)
            return in_order[self._place_in_order(group[0].key[0]) % len(in_order)]
        roomiest = max(engines, key=lambda engine: engine.room(len(group)))
        return roomiest if group[0].urgent or roomiest.room(len(group)) >= len(group) else None

    def _place_in_order(self, prompt: str) -> int:
        index, colon, _ = prompt.partition(":")
        return int(index) if colon and index.isdecimal() else self._groups_routed


def _groups(requests: Iterable[GenerationRequest]) -> list[list[GenerationRequest]]:
    return [list(group) for _, group in groupby(requests, key=lambda request: request.key[0])]
