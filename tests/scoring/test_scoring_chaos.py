"""Verifiers hang and crash, a judge is down for a while: every group's statistics are those of the truth.

Real worker processes and a real service on loopback; only the responses and the learner are made up.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from chaos_verifiers import breaks, convinces, is_refused, solves
from fakes import SAMPLING, FakeGenerator, FakeLearner, make_prompt
from hostile_judge import HostileJudge

from rlpost.recipe.rewards import OnFaultsConfig, RewardsConfig
from rlpost.recipe.stages import GrpoStage
from rlpost.records import Episode, Fault, RolloutGroup
from rlpost.rollout.collector import Collector
from rlpost.rollout.faults import CircuitBreaker
from rlpost.scoring.remote import Patience
from rlpost.scoring.scorer import RoutedScorer
from rlpost.stages.rl.batch import advantage_for, train_batches
from rlpost.stages.rl.loop import loss_of

GROUPS, SAMPLES = 16, 8
DOWN_S = 2.0
IMPATIENT = Patience(attempts=2, first_wait_s=0.05, longest_wait_s=0.1, give_up_after_s=1.0)
STAGE: dict[str, Any] = {
    "kind": "grpo",
    "name": "rl",
    "data": ["sums"],
    "steps": 1,
    "prompts_per_step": GROUPS,
    "samples_per_prompt": SAMPLES,
    "sampling": {"max_tokens": 6},
    "optimizer": {"learning_rate": 1e-3},
    "advantage": {"scheme": "dr_grpo"},
}


def truth(response: str) -> float | None:
    """What the response is worth; None where the judge's service never takes it."""
    if is_refused(response):
        return None
    return (0.0 if breaks(response) else solves(response)) + 0.5 * convinces(response)


def collected(service: HostileJudge, said: list[str]) -> list[RolloutGroup]:
    tree = {
        "sum": [
            {"verifier": "chaos_verifiers:solve"},
            {"verifier": "chaos_verifiers:judge", "params": {"endpoint": service.url}, "weight": 0.5},
        ]
    }
    rewards = RewardsConfig.model_validate({"routes": {"sums": tree}})
    breaker = CircuitBreaker(OnFaultsConfig(longest_pause_s=30.0), say=said.append)
    groups: list[RolloutGroup] = []
    with RoutedScorer(rewards, workers=2, patience=IMPATIENT) as scorer:
        collector = Collector(
            FakeGenerator(latency_s=lambda request: 0.05 * (request.seed % 40)),
            scorer,
            samples=SAMPLES,
            sampling=SAMPLING,
            seed="0/rl",
            stall_timeout_s=60,
            breaker=breaker,
        )
        service.down_until = time.monotonic() + DOWN_S
        collector.issue(((number, make_prompt(number)) for number in range(GROUPS)), step=0)
        while len(groups) < GROUPS:
            groups += collector.gather(timeout_s=0.25)
        collector.close()
    return sorted(groups, key=lambda group: group.index)


def test_the_statistics_of_every_group_are_right_and_no_infra_fault_reaches_the_loss() -> None:
    said: list[str] = []
    started = time.monotonic()
    with HostileJudge().serving() as service:
        groups = collected(service, said)
    assert time.monotonic() - started < 40
    pairs = [pair for group in groups for pair in zip(group.episodes, group.verdicts, strict=True)]
    texts = [episode.response for episode, _ in pairs]
    assert sum(map(breaks, texts)) >= 8 and sum(map(is_refused, texts)) >= 2 and service.refused > 10, "chaos there was"
    assert [verdict.score for _, verdict in pairs] == [truth(text) for text in texts]
    expected_faults = [Fault.INFRA if is_refused(text) else Fault.POLICY if breaks(text) else None for text in texts]
    assert [verdict.fault for _, verdict in pairs] == expected_faults
    assert said and said[0].startswith("scoring pauses: ") and "chaos.judge@1" in said[0]

    stage = GrpoStage.model_validate(STAGE)
    [(_, batch)] = train_batches(
        groups, FakeLearner(), stage, columns=loss_of(stage).columns, advantage=advantage_for(stage), version=0, seed=0
    )
    expected: list[tuple[list[int], float]] = []
    for group in groups:
        worth = [(episode, truth(episode.response)) for episode in group.episodes]
        mean = np.mean([score for _, score in worth if score is not None])
        expected += [(answer_of(episode), float(score - mean)) for episode, score in worth if score not in (None, mean)]
    found: list[tuple[list[int], float]] = []
    columns = (batch.token_ids, batch.weights_T, batch.columns["advantages_T"])
    for tokens, weights, advantages in zip(*(_rows(batch, column) for column in columns), strict=True):
        found.append((tokens[weights != 0].tolist(), float(advantages[weights != 0][0])))
    assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected], "who has no verdict is not trained"
    assert np.allclose([value for _, value in found], [value for _, value in expected], atol=1e-6)


def answer_of(episode: Episode) -> list[int]:
    (trajectory,) = episode.trajectories
    return trajectory.token_ids[trajectory.trained_T].tolist()


def _rows(batch: Any, column: np.ndarray) -> list[np.ndarray]:
    return np.split(column, np.cumsum(batch.row_lengths_B)[:-1])
