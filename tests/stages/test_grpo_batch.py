"""Credit by hand, so that the numbers do not come from the code under test."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from fakes import FakeLearner, make_group, scored

from rlpost.recipe.stages import GrpoStage
from rlpost.records import Fault, Verdict
from rlpost.stages.grpo import with_reference
from rlpost.stages.grpo_batch import credit, pack

INFRA = Verdict(fault=Fault.INFRA, reason="no judge")
STD_EPSILON = 1e-4


def stage_of(**changes: Any) -> GrpoStage:
    settings: dict[str, Any] = {
        "name": "grpo",
        "kind": "grpo",
        "data": ["sums"],
        "steps": 1,
        "prompts_per_step": 2,
        "samples_per_prompt": 2,
        "sampling": {"max_tokens": 10, "temperature": 0.5},
        "optimizer": {"learning_rate": 1e-3},
        "advantage": {"scheme": "dr_grpo"},
    }
    return GrpoStage.model_validate(settings | changes)


def test_advantages_stand_against_the_mean_of_the_group() -> None:
    assert credit(make_group(scored(1, 0, 0, 0)), stage_of()).advantages_G == [0.75, -0.25, -0.25, -0.25]


def test_grpo_divides_by_the_standard_deviation() -> None:
    std = sqrt((0.75**2 + 3 * 0.25**2) / 3)
    found = credit(make_group(scored(1, 0, 0, 0)), stage_of(advantage={"scheme": "grpo"})).advantages_G
    assert found == pytest.approx([0.75 / (std + STD_EPSILON)] + [-0.25 / (std + STD_EPSILON)] * 3)


def test_leave_one_out_compares_with_the_others() -> None:
    found = credit(make_group(scored(1, 0, 0)), stage_of(advantage={"scheme": "leave_one_out"})).advantages_G
    assert found == pytest.approx([1.0, -0.5, -0.5])


def test_the_reward_scale_multiplies_scores_before_advantages() -> None:
    assert credit(make_group(scored(1, 0)), stage_of(reward_scale=10)).advantages_G == [5.0, -5.0]


def test_an_infra_fault_is_neither_in_the_baseline_nor_in_the_loss() -> None:
    group = make_group([*scored(1, 0), INFRA], lengths=[2, 3, 4])
    assert credit(group, stage_of()).advantages_G == [0.5, -0.5, None]
    (batch,) = pack([group], stage_of())
    assert batch.row_lengths_B.tolist() == [2 + 2, 2 + 3]
    assert batch.denominator == 2 + 3, "the masked rollout is not counted either"


def test_the_floor_score_of_a_policy_fault_counts_like_any_other() -> None:
    crashed = Verdict(score=0.0, fault=Fault.POLICY, reason="timed out")
    assert credit(make_group([*scored(1), crashed]), stage_of()).advantages_G == [0.5, -0.5]


def test_one_judged_rollout_alone_has_no_signal() -> None:
    assert credit(make_group([*scored(1), INFRA]), stage_of()).advantages_G == [0.0, None]


def test_a_group_of_infra_faults_only_gives_nothing_and_does_not_disturb_the_others() -> None:
    lost, kept = make_group([INFRA, INFRA], index=0), make_group(scored(1, 0), index=1)
    assert credit(lost, stage_of()).advantages_G == [None, None]
    (batch,) = pack([lost, kept], stage_of())
    assert batch.denominator == 4
    assert pack([lost, lost], stage_of()) == []


def test_a_row_is_the_prompt_without_weight_and_the_response_with_its_advantage() -> None:
    group = make_group(scored(1, 0), lengths=[2, 3])
    (batch,) = pack([group], stage_of())
    prompt = group.prompt.token_ids.tolist()
    assert batch.token_ids.tolist() == [*prompt, 4, 5, *prompt, 4, 5, 6]
    assert batch.weights_T.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 1]
    assert batch.advantages_T.tolist() == [0, 0, 0.5, 0.5, 0, 0, -0.5, -0.5, -0.5]
    assert batch.behaviour_logprobs_T.tolist() == [0, 0, -0.5, -0.5, 0, 0, -0.5, -0.5, -0.5]
    assert (batch.temperature, batch.rows_per_unit) == (0.5, 1)


@pytest.mark.parametrize(
    ("normalisation", "denominator", "weights"),
    [
        ("token", 1 + 3 + 2 + 4, {3: 1.0, 1: 1.0}),
        ("sequence", 4, {3: 1 / 3, 1: 1.0}),
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
    (batch,) = pack(groups, stage_of(loss={"normalisation": normalisation}))
    assert batch.row_lengths_B.tolist() == [3, 5]
    assert batch.denominator == denominator
    assert batch.weights_T[2] == pytest.approx(weights[1])
    assert batch.weights_T[5:].tolist() == pytest.approx([weights[3]] * 3)


def test_a_reference_keeps_rows_without_signal() -> None:
    stage = stage_of(loss={"kl_coefficient": 0.1})
    (batch,) = pack([make_group(scored(1, 1)), make_group([*scored(0), INFRA])], stage)
    assert len(batch.row_lengths_B) == 3
    assert not batch.advantages_T.any()
    learner = FakeLearner()
    (with_it,) = with_reference([batch], learner, stage)
    scored_T = batch.weights_T != 0
    assert np.array_equal(with_it.reference_logprobs_T, learner.logprobs(batch, reference=True))
    assert with_it.reference_logprobs_T[scored_T].all() and not with_it.reference_logprobs_T[~scored_T].any()


def test_without_a_kl_term_the_reference_is_not_asked() -> None:
    stage, learner = stage_of(), FakeLearner()
    batches = pack([make_group(scored(1, 0))], stage)
    assert with_reference(batches, learner, stage) == batches
    assert learner.calls == []


def test_minibatches_split_the_groups_in_order_each_with_its_own_denominator() -> None:
    groups = [
        make_group(scored(1, 0), lengths=[1, 1], index=0),
        make_group(scored(1, 0), lengths=[2, 2], index=1),
        make_group(scored(0, 1), lengths=[3, 3], index=2),
        make_group(scored(0, 1), lengths=[4, 4], index=3),
    ]
    first, second = pack(groups, stage_of(minibatches=2))
    assert (first.row_lengths_B.tolist(), first.denominator) == ([3, 3, 4, 4], 6)
    assert (second.row_lengths_B.tolist(), second.denominator) == ([5, 5, 6, 6], 14)


def test_a_minibatch_without_any_signal_is_left_out() -> None:
    groups = [make_group(scored(1, 1), index=0), make_group(scored(1, 0), index=1)]
    (only,) = pack(groups, stage_of(minibatches=2))
    assert only.advantages_T.max() == 0.5
    assert pack([make_group(scored(1, 1)), make_group(scored(0, 0))], stage_of()) == []
