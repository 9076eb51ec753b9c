"""A pool of scripted engines under test, with a check of every answer that it gives."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from scripted_engine import a_group, tokens_of

from rlpost.cluster.generator_pool import GeneratorPool
from rlpost.records import Completion

MakePool = Callable[..., "Bench"]


class Bench:
    """A pool, what it said, and every answer that came, checked to come once and to be what the seed says."""

    def __init__(self, pool: GeneratorPool, said: list[str], orders: list[int]) -> None:
        self.pool, self.said, self.orders = pool, said, orders
        self.seeds: dict[tuple[str, int], int] = {}
        self.answers: dict[tuple[str, int], Completion] = {}

    def ask(self, first: int, count: int, *, samples: int = 4) -> None:
        requests = [request for index in range(first, first + count) for request in a_group(index, samples=samples)]
        self.seeds.update({request.key: request.seed for request in requests})
        self.pool.submit(requests)

    def hear(self, timeout_s: float = 0.1) -> list[Completion]:
        rollouts = self.pool.poll(timeout_s)
        for rollout in rollouts:
            assert rollout.key not in self.answers, f"{rollout.key} was answered twice"
            assert rollout.token_ids.tolist() == tokens_of(self.seeds[rollout.key])
            self.answers[rollout.key] = rollout
        return rollouts

    def hear_until(self, reached: Callable[[], bool], *, within_s: float = 20.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not reached():
            assert time.monotonic() < deadline_s, f"{len(self.answers)} of {len(self.seeds)} answers; {self.said}"
            self.hear()

    def hear_all(self) -> None:
        self.hear_until(lambda: self.answers.keys() == self.seeds.keys())

    def answered_by(self) -> Counter[str]:
        return Counter(rollout.text for rollout in self.answers.values())

    def serving(self) -> list[str]:
        return [load.generator for load in self.pool.loads()]
