"""An episode of several trajectories and turns: one verdict, one place in the group, credit for every chosen token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeLearner, make_group, make_prompt, scored
from test_rl_batch import batches_of, grpo, ppo

from rlpost.interfaces import REFERENCE
from rlpost.records import Episode, RolloutGroup, Trajectory, Turn, VersionSpan
from rlpost.rollout.canary import parity_rows


def trajectory(prompt: list[int], *turns: tuple[list[int], bool], version: int = 0) -> Trajectory:
    """A prompt, then turns of the policy (True) and of a tool (False)."""
    ids, chosen, written, spans = list(prompt), [False] * len(prompt), [Turn(0, len(prompt), "user")], []
    for tokens, by_policy in turns:
        start = len(ids)
        ids, chosen = [*ids, *tokens], [*chosen, *[by_policy] * len(tokens)]
        written.append(Turn(start, len(ids), "assistant" if by_policy else "tool"))
        if by_policy:
            spans.append(VersionSpan(start, len(ids), version))
    trained_T = np.array(chosen, np.bool_)
    return Trajectory(
        token_ids=np.array(ids, np.int32),
        trained_T=trained_T,
        logprobs_T=np.where(trained_T, -0.5, 0).astype(np.float32),
        version_spans=tuple(spans),
        turns=tuple(written),
        finish="stop",
    )


CALLED = trajectory([2, 3], ([4, 5], True), ([9, 9, 9], False), ([6], True))
REWRITTEN = trajectory([2, 3, 8], ([7, 7], True), version=1)


def group_of(*episodes: tuple[Trajectory, ...], scores: tuple[float, ...]) -> RolloutGroup:
    made = tuple(
        Episode(sample=sample, trajectories=parts, response="x", seconds=1.0) for sample, parts in enumerate(episodes)
    )
    return RolloutGroup(prompt=make_prompt(0), index=0, episodes=made, verdicts=tuple(scored(*scores)))


def test_the_output_of_a_tool_is_context_and_is_never_trained() -> None:
    (batch,) = batches_of([group_of((CALLED,), (CALLED,), scores=(1.0, 0.0))], grpo())
    assert batch.token_ids[:8].tolist() == [2, 3, 4, 5, 9, 9, 9, 6]
    assert batch.weights_T[:8].tolist() == [0, 0, 1, 1, 0, 0, 0, 1]
    assert batch.columns["advantages_T"][:8].tolist() == [0, 0, 0.5, 0.5, 0, 0, 0, 0.5]
    assert batch.columns["behaviour_logprobs_T"][:8].tolist() == [0, 0, -0.5, -0.5, 0, 0, 0, -0.5]
    assert batch.components[0].denominator == 3 + 3, "the tokens of the tool do not count"


def test_trajectories_of_one_episode_share_its_credit_and_are_rows_of_their_own() -> None:
    group = group_of((CALLED, REWRITTEN), (CALLED,), scores=(1.0, 0.0))
    (batch,) = batches_of([group], grpo(), version=1)
    assert batch.row_lengths_B.tolist() == [8, 5, 8]
    first, second, third = np.split(batch.columns["advantages_T"], np.cumsum(batch.row_lengths_B)[:-1])
    assert first[CALLED.trained_T].tolist() == [0.5] * 3
    assert second[REWRITTEN.trained_T].tolist() == [0.5] * 2
    assert third[CALLED.trained_T].tolist() == [-0.5] * 3
    assert batch.components[0].denominator == 3 + 2 + 3
    assert batch.sources[0] == batch.sources[1] == "sums/0, sample 0"


def test_a_penalty_in_the_reward_is_summed_over_all_trajectories_of_an_episode() -> None:
    learner = FakeLearner()
    group = group_of((CALLED, REWRITTEN), (CALLED,), scores=(1.0, 1.0))
    stage = grpo(kl={"coefficient": 0.5, "place": "reward", "estimator": "k1"})
    (batch,) = batches_of([group], stage, learner)
    scored_T = batch.weights_T != 0
    penalty_T = 0.5 * (-0.5 - learner.logprobs(batch, of=REFERENCE))
    both, alone = penalty_T[:13][scored_T[:13]].sum(), penalty_T[13:][scored_T[13:]].sum()
    rewards = [1 - both, 1 - alone]
    expected = rewards[0] - sum(rewards) / 2
    assert batch.columns["advantages_T"][2] == pytest.approx(expected, abs=1e-6)
    assert batch.columns["advantages_T"][8 + 3] == pytest.approx(expected, abs=1e-6)


def test_the_critics_returns_run_through_the_turns_of_an_episode_to_its_end() -> None:
    stage = ppo(gae={"discount": 1.0, "trace_decay": 1.0, "whiten": False})
    (batch,) = batches_of([group_of((CALLED, REWRITTEN), (CALLED,), scores=(1.0, 0.0))], stage)
    returns = np.split(batch.columns["returns_T"], np.cumsum(batch.row_lengths_B)[:-1])
    # Without discount and with the whole trace, every token should have predicted the score.
    assert returns[0][CALLED.trained_T].tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    assert returns[1][REWRITTEN.trained_T].tolist() == pytest.approx([1.0] * 2, abs=1e-6)
    assert returns[2][CALLED.trained_T].tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def test_ages_are_those_of_the_chosen_tokens_over_all_trajectories() -> None:
    group = group_of((CALLED, REWRITTEN), (CALLED,), scores=(1.0, 0.0))
    stage = grpo(minibatches=1, epochs=2, max_staleness=3, off_policy={"proximal": "log_linear"})
    _, second = batches_of([group], stage, version=3)
    mix = np.split(second.columns["proximal_mix_T"], np.cumsum(second.row_lengths_B)[:-1])
    assert mix[0][CALLED.trained_T].tolist() == pytest.approx([3 / 3.5] * 3), "sampled three versions ago"
    assert mix[1][REWRITTEN.trained_T].tolist() == pytest.approx([2 / 2.5] * 2), "sampled two versions ago"
    assert not mix[0][~CALLED.trained_T].any()


def test_the_canary_compares_every_turn() -> None:
    rows = parity_rows([group_of((CALLED, REWRITTEN), scores=(1.0,))], at_most=3)
    assert [row.weights_T.tolist() for row in rows] == [[0, 0, 1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1]]


def test_a_cut_off_last_turn_masks_the_whole_episode() -> None:
    cut = replace(REWRITTEN, finish="length")
    group = group_of((CALLED, cut), (CALLED,), (CALLED,), scores=(1.0, 0.0, 1.0))
    (batch,) = batches_of([group], grpo(mask_truncated=True))
    assert batch.row_lengths_B.tolist() == [8, 8]


def test_a_single_turn_is_an_episode_of_one_trajectory() -> None:
    (episode,) = make_group(scored(1.0), lengths=[3]).episodes
    (only,) = episode.trajectories
    assert (episode.trained_count, only.trained_T.tolist()) == (3, [False, False, True, True, True])
    assert only.turns == (Turn(0, 2, "user"), Turn(2, 5, "assistant"))
