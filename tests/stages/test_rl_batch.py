"""Credit and batches by hand, so that the numbers do not come from the code under test."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeLearner, make_group, scored
from rl_batches import batches_of, grpo, ppo

from rlpost.errors import RewardError
from rlpost.interfaces import REFERENCE
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import Episode, Fault, Mark, RolloutGroup, Verdict, VersionSpan
from rlpost.stages.rl.batch import advantage_for, proximal_mix, token_ages, train_batches
from rlpost.stages.rl.scores import judged, score_of, scores_of

INFRA = Verdict(fault=Fault.INFRA, reason="no judge")
STD_EPSILON = 1e-4


def advantages(group: RolloutGroup, stage: GrpoStage) -> list[float]:
    """Of each rollout that was trained, at its first token."""
    (batch,) = batches_of([group], stage)
    starts = np.cumsum(batch.row_lengths_B) - batch.row_lengths_B + len(group.prompt.token_ids)
    return batch.columns["advantages_T"][starts].tolist()


def cut_off(episode: Episode) -> Episode:
    *before, last = episode.trajectories
    return replace(episode, trajectories=(*before, replace(last, finish="length")))


def test_advantages_stand_against_the_mean_of_the_group() -> None:
    assert advantages(make_group(scored(1, 0, 0, 0)), grpo()) == [0.75, -0.25, -0.25, -0.25]


def test_grpo_divides_by_the_standard_deviation() -> None:
    std = sqrt((0.75**2 + 3 * 0.25**2) / 3)
    found = advantages(make_group(scored(1, 0, 0, 0)), grpo(advantage={"scheme": "grpo"}))
    assert found == pytest.approx([0.75 / (std + STD_EPSILON)] + [-0.25 / (std + STD_EPSILON)] * 3)


def test_leave_one_out_compares_with_the_others() -> None:
    found = advantages(make_group(scored(1, 0, 0)), grpo(advantage={"scheme": "leave_one_out"}))
    assert found == pytest.approx([1.0, -0.5, -0.5])


def test_the_reward_scale_multiplies_scores_before_advantages() -> None:
    assert advantages(make_group(scored(1, 0)), grpo(reward_scale=10)) == [5.0, -5.0]


def test_an_infra_fault_is_neither_in_the_baseline_nor_in_the_loss() -> None:
    group = make_group([*scored(1, 0), INFRA], lengths=[2, 3, 4])
    (batch,) = batches_of([group], grpo())
    assert batch.row_lengths_B.tolist() == [2 + 2, 2 + 3]
    assert batch.columns["advantages_T"][2] == 0.5
    assert batch.components[0].denominator == 2 + 3, "the masked rollout is not counted either"


def test_the_floor_score_of_a_policy_fault_counts_like_any_other() -> None:
    crashed = Verdict(score=0.0, fault=Fault.POLICY, reason="timed out")
    assert advantages(make_group([*scored(1), crashed]), grpo()) == [0.5, -0.5]


def test_groups_without_two_judged_rollouts_give_nothing_and_do_not_disturb_the_others() -> None:
    lost, alone, kept = make_group([INFRA, INFRA]), make_group([*scored(1), INFRA]), make_group(scored(1, 0))
    (batch,) = batches_of([lost, alone, kept], grpo())
    assert len(batch.row_lengths_B) == 2
    assert batch.components[0].denominator == 6, "the one judged rollout without a baseline counts"
    assert batches_of([lost, lost], grpo()) == []
    assert batches_of([alone], grpo()) == []


def test_a_row_is_the_prompt_without_weight_and_the_response_with_its_advantage() -> None:
    group = make_group(scored(1, 0), lengths=[2, 3])
    (batch,) = batches_of([group], grpo())
    prompt = group.prompt.token_ids.tolist()
    assert batch.token_ids.tolist() == [*prompt, 4, 5, *prompt, 4, 5, 6]
    assert batch.weights_T.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 1]
    assert batch.columns["advantages_T"].tolist() == [0, 0, 0.5, 0.5, 0, 0, -0.5, -0.5, -0.5]
    assert batch.columns["behaviour_logprobs_T"].tolist() == [0, 0, -0.5, -0.5, 0, 0, -0.5, -0.5, -0.5]
    assert (batch.temperature, batch.rows_per_unit) == (0.5, 1)


@pytest.mark.parametrize(
    ("normalisation", "denominator", "weights"),
    [
        ("token", 1 + 3 + 2 + 4, {3: 1.0, 1: 1.0}),
        ("sequence", 4, {3: 1 / 3, 1: 1.0}),
        ("sequence_sum", 4, {3: 1.0, 1: 1.0}),
        ("constant", 4 * 10, {3: 1.0, 1: 1.0}),
    ],
)
def test_rows_without_signal_are_not_trained_but_count_in_the_denominator(
    normalisation: str, denominator: float, weights: dict[int, float]
) -> None:
    groups = [
        make_group(scored(1, 0), lengths=[1, 3], index=0),
        make_group(scored(1, 1), lengths=[2, 4], index=1),
    ]
    (batch,) = batches_of(groups, grpo(loss={"normalisation": normalisation}))
    assert batch.row_lengths_B.tolist() == [3, 5]
    assert batch.components[0].denominator == denominator
    assert batch.weights_T[2] == pytest.approx(weights[1])
    assert batch.weights_T[5:].tolist() == pytest.approx([weights[3]] * 3)


def test_a_loss_of_ones_own_sees_rows_without_signal(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from rlpost.losses.authoring import surrogate\n"
        "@surrogate(columns=[])\n"
        "def mine(inputs, *, log_ratios_T): ...\n"
    )
    groups = [make_group(scored(1, 1), lengths=[2, 4])]
    assert batches_of(groups, grpo()) == []
    (batch,) = batches_of(groups, grpo(loss={"kind": f"{own}:mine"}))
    assert batch.row_lengths_B.tolist() == [4, 6]


ALWAYS = {"advantages_T", "behaviour_logprobs_T", "proximal_logprobs_T", "proximal_mix_T"}


@pytest.mark.parametrize(
    ("stage", "columns"),
    [
        (grpo(), ALWAYS),
        (grpo(kl={"coefficient": 0.1}), ALWAYS | {"reference_logprobs_T"}),
        (ppo(), ALWAYS | {"returns_T", "old_values_T"}),
        (ppo(kl={"coefficient": 0.1}), ALWAYS | {"returns_T", "old_values_T", "reference_logprobs_T"}),
    ],
)
def test_a_stage_fills_in_every_column_that_it_promises_to_losses(
    stage: GrpoStage | PpoStage, columns: set[str]
) -> None:
    assert stage.fills_columns == columns
    ((_, batch),) = train_batches(
        [make_group(scored(1, 0))],
        FakeLearner(),
        stage,
        columns=stage.fills_columns,
        advantage=advantage_for(stage),
        version=0,
        seed=0,
    )
    assert batch.columns.keys() == columns


def test_a_penalty_in_the_loss_keeps_rows_without_signal_and_looks_the_reference_up() -> None:
    learner = FakeLearner()
    groups = [make_group(scored(1, 1)), make_group([*scored(0), INFRA])]
    (batch,) = batches_of(groups, grpo(kl={"coefficient": 0.1}), learner)
    assert len(batch.row_lengths_B) == 3
    assert not batch.columns["advantages_T"].any()
    scored_T = batch.weights_T != 0
    assert np.allclose(batch.columns["reference_logprobs_T"], learner.logprobs(batch, of=REFERENCE), atol=1e-6)
    assert (
        batch.columns["reference_logprobs_T"][scored_T].all()
        and not batch.columns["reference_logprobs_T"][~scored_T].any()
    )


def test_a_penalty_in_the_reward_lowers_the_score_by_its_sum_and_leaves_the_loss_alone() -> None:
    learner, group = FakeLearner(), make_group(scored(1, 1), lengths=[1, 3])
    (batch,) = batches_of([group], grpo(kl={"coefficient": 0.5, "place": "reward", "estimator": "k1"}), learner)
    assert "reference_logprobs_T" not in batch.columns, "the loss does not read it"
    reference_T = learner.logprobs(batch, of=REFERENCE)
    penalties = [0.5 * float((-0.5 - reference_T[part]).sum()) for part in (slice(2, 3), slice(5, 8))]
    rewards = [1 - penalties[0], 1 - penalties[1]]
    mean = sum(rewards) / 2
    assert batch.columns["advantages_T"][2] == pytest.approx(rewards[0] - mean, abs=1e-6)
    assert batch.columns["advantages_T"][5:].tolist() == pytest.approx([rewards[1] - mean] * 3, abs=1e-6)
    assert penalties[0] != pytest.approx(penalties[1])


@pytest.mark.parametrize(
    ("changes", "calls"),
    [
        ({}, []),
        ({"max_staleness": 2}, []),
        ({"max_staleness": 2, "minibatches": 2}, ["logprobs", "logprobs"]),
        ({"max_staleness": 2, "minibatches": 2, "off_policy": {"proximal": "log_linear"}}, []),
        ({"minibatches": 2}, ["logprobs", "logprobs"]),
        ({"minibatches": 2, "epochs": 3}, ["logprobs", "logprobs"]),
        ({"minibatches": 2, "off_policy": {"proximal": "behaviour"}}, []),
        ({"minibatches": 2, "kl": {"coefficient": 0.1}}, ["logprobs"] * 3),
        ({"max_staleness": 1, "epochs": 2, "kl": {"coefficient": 0.1}}, ["logprobs", "logprobs"]),
    ],
)
def test_a_forward_pass_is_made_only_where_the_loss_needs_it(changes: dict[str, Any], calls: list[str]) -> None:
    learner = FakeLearner()
    assert batches_of([make_group(scored(1, 0)), make_group(scored(1, 0))], grpo(**changes), learner)
    assert learner.calls == calls


def test_a_minibatch_without_any_signal_is_left_out() -> None:
    groups = [make_group(scored(1, 1), index=0), make_group(scored(1, 0), index=1)]
    (only,) = batches_of(groups, grpo(minibatches=2))
    assert only.columns["advantages_T"].max() == 0.5
    assert batches_of([make_group(scored(1, 1)), make_group(scored(0, 0))], grpo()) == []


def test_truncated_responses_are_masked_from_the_loss_but_stay_in_the_baseline() -> None:
    group = make_group(scored(1, 0, 0, 0), lengths=[1, 2, 3, 4])
    cut = replace(group, episodes=(*group.episodes[:3], cut_off(group.episodes[3])))
    (batch,) = batches_of([cut], grpo(mask_truncated=True))
    assert batch.row_lengths_B.tolist() == [3, 4, 5]
    assert batch.columns["advantages_T"][2] == 0.75, "one of four was right, not one of three"
    assert batch.components[0].denominator == 1 + 2 + 3


def test_a_truncated_score_stands_as_it_is_whatever_the_scale() -> None:
    group = make_group(scored(1, 1))
    cut = replace(group, episodes=(group.episodes[0], cut_off(group.episodes[1])))
    (scores_G,) = scores_of([judged(cut)], grpo(truncated_score=-10, reward_scale=10))
    assert scores_G.tolist() == [10, -10]


def test_long_responses_lose_up_to_the_factor_over_the_buffer() -> None:
    group = make_group(scored(1, 1, 1, 1), lengths=[5, 6, 8, 10])
    (scores_G,) = scores_of([judged(group)], grpo(overlong={"buffer_ratio": 0.4, "factor": 0.5}))
    assert scores_G.tolist() == pytest.approx([1, 1, 0.75, 0.5])


def test_named_parts_are_summed_by_weight() -> None:
    verdicts = [Verdict(score=9, parts={"right": 1, "short": 0}), Verdict(score=9, parts={"right": 0, "short": 1})]
    stage = grpo(advantage={"scheme": "dr_grpo", "parts": {"right": 1.0, "short": 0.2}})
    assert scores_of([judged(make_group(verdicts))], stage)[0].tolist() == [1.0, 0.2]
    crashed = Verdict(score=-1.0, fault=Fault.POLICY, reason="timed out")
    assert scores_of([judged(make_group([verdicts[0], crashed]))], stage)[0].tolist() == pytest.approx([1.0, -1.2])


def test_a_part_that_no_verdict_has_is_named() -> None:
    stage = grpo(advantage={"parts": {"rigth": 1.0}})
    with pytest.raises(RewardError, match=r"'rigth' is not among \['right'\] of v1"):
        scores_of([judged(make_group([Verdict(score=1, parts={"right": 1}, version="v1")] * 2))], stage)


def test_ages_count_versions_for_each_token_of_a_trajectory_that_spans_an_update() -> None:
    (trajectory,) = make_group(scored(1), lengths=[5]).episodes[0].trajectories
    spans = (VersionSpan(2, 5, version=4), VersionSpan(5, 7, version=6))
    assert token_ages([replace(trajectory, version_spans=spans)], 7).tolist() == [3, 3, 3, 1, 1]


def test_the_proximal_policy_lies_between_the_sampling_and_the_current_one_by_age() -> None:
    ages_T = np.array([0, 1, 3], np.float32)
    assert proximal_mix(ages_T, progress=0).tolist() == [1, 1, 1], "before the first update it is the current one"
    assert proximal_mix(ages_T, progress=0.5).tolist() == pytest.approx([0, 1 / 1.5, 3 / 3.5])


def test_one_update_a_batch_needs_no_columns_for_the_proximal_policy() -> None:
    (batch,) = batches_of([make_group(scored(1, 0), version=1)], grpo(max_staleness=2), version=3)
    assert set(batch.columns) == {"advantages_T", "behaviour_logprobs_T"}


def test_the_mix_follows_age_and_minibatch_in_the_batches() -> None:
    groups = [make_group(scored(1, 0), version=1), make_group(scored(1, 0), version=3)]
    stage = grpo(minibatches=2, max_staleness=2, off_policy={"proximal": "log_linear"})
    first, second = batches_of(groups, stage, version=3)
    scored_T = first.weights_T != 0
    assert first.columns["proximal_mix_T"][scored_T].tolist() == [1.0] * 4
    assert second.columns["proximal_mix_T"][2:4].tolist() == [0.0, 0.0], (
        "of age 0, sampled by the proximal policy itself"
    )


def test_ppo_learns_from_rewards_at_the_end_and_the_critics_values() -> None:
    learner = FakeLearner()
    group = make_group(scored(1, 0), lengths=[2, 1])
    stage = ppo(gae={"discount": 1.0, "trace_decay": 0.5, "whiten": False}, kl={"coefficient": 0.1, "place": "reward"})
    (batch,) = batches_of([group], stage, learner)
    assert learner.calls == ["logprobs", "values"]
    assert len(batch.row_lengths_B) == 2
    value = batch.columns["old_values_T"]
    reference_T, sampled = learner.logprobs(batch, of=REFERENCE), -0.5
    penalty = [0.1 * (np.exp(r - sampled) - 1 - (r - sampled)) for r in reference_T.tolist()]
    last = 1 - penalty[3] - value[3]
    first = -penalty[2] + value[3] - value[2]
    assert batch.columns["advantages_T"][2:4].tolist() == pytest.approx([first + 0.5 * last, last], abs=1e-5)
    assert batch.columns["returns_T"][2:4].tolist() == pytest.approx(
        [first + 0.5 * last + value[2], last + value[3]], abs=1e-5
    )


def test_whitened_ppo_advantages_have_mean_0_and_variance_1_over_the_tokens_of_the_step() -> None:
    groups = [make_group(scored(1, 0), lengths=[4, 2]), make_group(scored(0, 0), lengths=[3, 5])]
    (batch,) = batches_of(groups, ppo())
    trained = batch.columns["advantages_T"][batch.weights_T != 0]
    assert len(trained) == 14
    assert trained.mean() == pytest.approx(0, abs=1e-6)
    assert trained.var(ddof=1) == pytest.approx(1, abs=0.1)


def test_a_part_that_did_not_run_counts_nothing_and_one_that_nobody_has_is_an_error() -> None:
    weights = {"right": 2.0, "short": 1.0}
    whole = Verdict(score=1.5, parts={"right": 1.0, "short": 0.5})
    gated = Verdict(score=0.0, parts={"tag": 0.0}, marks=(Mark.PARTS_MISSING,))
    assert [score_of(verdict, weights) for verdict in (whole, gated)] == [2.5, 0.0]
    stage = grpo(advantage={"scheme": "dr_grpo", "parts": weights, "combine": "normalise_then_sum"})
    [scores] = scores_of([judged(make_group([whole, gated]))], stage)
    assert scores[0] == -scores[1] > 0
    with pytest.raises(RewardError, match=r"'short' is not among \['right'\]"):
        score_of(Verdict(score=1.0, parts={"right": 1.0}), weights)


def test_a_policy_fault_of_a_lone_verifier_stands_for_each_of_its_parts() -> None:
    broken = Verdict(score=-1.0, fault=Fault.POLICY, parts={"probe": -1.0})
    assert score_of(broken, {"precision": 1.0, "recall": 0.5}) == -1.5
