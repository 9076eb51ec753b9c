from __future__ import annotations

from itertools import combinations

import pytest
from fakes import make_group, scored

from rlpost.errors import GateError
from rlpost.evaluate.held_out import check_gate, pass_at_k, score_groups
from rlpost.records import Fault, Verdict

INFRA, GOLD = Verdict(fault=Fault.INFRA, reason="down"), Verdict(fault=Fault.GOLD, reason="empty")


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_pass(samples: int) -> None:
    for passed in range(samples + 1):
        outcomes = [place < passed for place in range(samples)]
        for k in range(1, samples + 1):
            draws = [any(draw) for draw in combinations(outcomes, k)]
            assert pass_at_k(samples, passed, k) == pytest.approx(sum(draws) / len(draws))


def test_scores_by_hand() -> None:
    groups = [
        make_group(scored(1, 0), lengths=[1, 3], index=0),
        make_group(scored(0, 0.5), lengths=[2, 2], index=1),
    ]
    evaluation = score_groups(groups, pass_score=1.0)
    assert evaluation.prompt_count == 2
    assert evaluation.scores == {
        "pass@1": 0.25,
        "pass@2": 0.5,
        "mean_score": 0.375,
        "truncated": 0.0,
        "mean_tokens": 2.0,
    }
    assert score_groups(groups, pass_score=0.5).scores["pass@2"] == 1.0


def test_a_perfect_answer_passes_whatever_the_weights_of_its_parts_add_up_to() -> None:
    total = 0.7 + 0.2 + 0.1
    assert total < 1.0
    assert score_groups([make_group(scored(total))], pass_score=1.0).scores["pass@1"] == 1.0


def test_a_gate_takes_a_mean_that_is_its_bound_but_for_rounding() -> None:
    below, above = 0.7 + 0.2 + 0.1, 0.1 + 0.2
    assert below < 1.0 and above > 0.3
    check_gate("sft", {"score": below}, {"score": ">= 1"})
    check_gate("sft", {"score": above}, {"score": "<= 0.3"})
    for score, bound in ((above, "> 0.3"), (below, "< 1")):
        with pytest.raises(GateError):
            check_gate("sft", {"score": score}, {"score": bound})


def test_one_sample_a_prompt_reports_pass_at_1_only() -> None:
    scores = score_groups([make_group(scored(1)), make_group(scored(0))], pass_score=1.0).scores
    assert (scores["pass@1"], [name for name in scores if name.startswith("pass")]) == (0.5, ["pass@1"])


def test_unjudged_answers_are_left_out_and_counted() -> None:
    groups = [make_group([*scored(1), INFRA]), make_group(scored(1, 0)), make_group([GOLD, GOLD])]
    scores = score_groups(groups, pass_score=1.0).scores
    assert scores["unjudged"] == 3
    assert scores["pass@1"] == pytest.approx((1 + 0.5) / 2)
    assert scores["pass@2"] == 1.0, "only the prompt with two judged answers counts"
    assert scores["mean_score"] == pytest.approx(2 / 3)


def test_a_policy_fault_counts_with_its_floor_score() -> None:
    crashed = Verdict(score=0.0, fault=Fault.POLICY, reason="timed out")
    scores = score_groups([make_group([*scored(1), crashed])], pass_score=1.0).scores
    assert scores["mean_score"] == 0.5 and "unjudged" not in scores


def test_where_nothing_was_judged_there_is_no_score_instead_of_a_low_one() -> None:
    scores = score_groups([make_group([INFRA, INFRA])], pass_score=1.0).scores
    assert set(scores) == {"truncated", "mean_tokens", "unjudged"}
    with pytest.raises(GateError, match=r"stage sft requires pass@1 >= 0.5, and the evaluation gives truncated, "):
        check_gate("sft", scores, {"pass@1": ">= 0.5"})


@pytest.mark.parametrize(
    ("bound", "holding", "failing"),
    [
        (">= 0.5", [0.5, 0.6], [0.4999]),
        ("> 0.5", [0.5001], [0.5, 0.1]),
        ("<= 0.5", [0.5, 0.1], [0.5001]),
        (" <0.5 ", [0.4999], [0.5, 0.9]),
        (">=-1", [-1, 0], [-1.5]),
    ],
)
def test_gates_of_all_signs(bound: str, holding: list[float], failing: list[float]) -> None:
    for score in holding:
        check_gate("sft", {"pass@1": score}, {"pass@1": bound})
    for score in failing:
        with pytest.raises(GateError, match=r"stage sft must reach pass@1 .* before the next stage starts; found "):
            check_gate("sft", {"pass@1": score}, {"pass@1": bound})


def test_every_gate_of_a_stage_must_hold() -> None:
    scores = {"pass@1": 0.6, "mean_tokens": 90.0}
    with pytest.raises(GateError, match="mean_tokens < 50"):
        check_gate("sft", scores, {"pass@1": ">= 0.5", "mean_tokens": "< 50"})
