"""Trees of verifiers: values, laziness, faults, and what is logged of each node."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from probe_verifiers import ASKED

from rlpost.recipe.rewards import RewardNode, RewardsConfig
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.scorer import RoutedScorer


def word(find: str, **more: Any) -> dict[str, Any]:
    return {"verifier": "probe_verifiers:word", "params": {"find": find}, "name": find, **more}


COUNTED = {"verifier": "probe_verifiers:counted"}


def judged(tree: dict[str, Any], *responses: str, step: int | None = 0) -> list[Verdict]:
    ASKED.clear()
    samples = [Sample(id=str(n), prompt="", response=text, dataset="d", step=step) for n, text in enumerate(responses)]
    with RoutedScorer(RewardsConfig.model_validate({"routes": {"d": tree}}), workers=1) as scorer:
        return scorer.score(samples)


def scores(tree: dict[str, Any], *responses: str, step: int | None = 0) -> list[float | None]:
    return [verdict.score for verdict in judged(tree, *responses, step=step)]


GATED = {
    "gate": word("tag"),
    "else": -0.5,
    "then": {"sum": [word("a", name="right"), {**COUNTED, "weight": 0.2, "when": "right", "name": "short"}]},
}


def test_a_gate_lets_through_what_passes_and_asks_nothing_behind_it_otherwise() -> None:
    verdicts = judged(GATED, "tag a", "a", "tag")
    assert [verdict.score for verdict in verdicts] == [1.1, -0.5, 0.0]
    assert ASKED == ["tag a"], "the shape is asked only where the answer is right"
    assert [dict(verdict.parts) for verdict in verdicts] == [
        {"tag": 1.0, "tag.length": 5.0, "right": 1.0, "right.length": 5.0, "short": 0.5},
        {"tag": 0.0, "tag.length": 1.0},
        {"tag": 1.0, "tag.length": 3.0, "right": 0.0, "right.length": 3.0},
    ]
    assert [Mark.PARTS_MISSING in verdict.marks for verdict in verdicts] == [False, True, True]
    assert verdicts[0].parsed == "a", "what a gate read is not the answer"
    assert verdicts[0].version == "probe.word@1 + probe.counted@1"


def test_a_gate_opens_at_its_least() -> None:
    tree = {"gate": {**COUNTED, "least": 0.5}, "then": word("a")}
    assert scores(tree, "a") == [1.0]
    assert scores({**tree, "gate": {**COUNTED, "least": 0.6}}, "a") == [0.0]


def test_a_sum_weighs_its_children_by_the_step_of_the_sample() -> None:
    tree = {"sum": [word("a"), word("b", weight={"from": 0.2, "to": 0.0, "steps": 100})]}
    assert scores(tree, "a b", step=0) == [1.2]
    assert scores(tree, "a b", step=50) == [1.1]
    assert scores(tree, "a b", step=100) == scores(tree, "a b", step=900) == [1.0]
    assert scores(tree, "a b", step=None) == [1.0], "outside RL the weight is the one at the end"


@pytest.mark.parametrize("weights", permutations([0.7, 0.2, 0.1]))
def test_a_sum_is_rounded_once_so_that_the_order_of_its_children_does_not_matter(weights: tuple[float, ...]) -> None:
    parts = [word(name, weight=weight) for name, weight in zip("abc", weights, strict=True)]
    assert scores({"sum": parts}, "a b c") == [1.0]


def test_a_gate_opens_for_a_value_that_is_its_least_on_paper() -> None:
    factors = [{"scale": {"of": word("a"), "by": 0.7}}, {"scale": {"of": word("b"), "by": 0.1}}]
    assert 0.7 * 0.1 < 0.07
    assert scores({"gate": {"product": factors, "least": 0.07}, "then": word("c")}, "a b c", "b c") == [1.0, 0.0]


def test_the_weight_of_a_route_may_change_too() -> None:
    assert scores({**COUNTED, "weight": {"from": 1, "to": 3, "steps": 2}}, "x", step=1) == [1.0]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"product": [word("a"), word("b"), COUNTED]}, [0.5, 0.0, 0.0]),
        ({"min": [word("a"), COUNTED]}, [0.5, 0.5, 0.0]),
        ({"clip": {"of": {"sum": [word("a"), word("b")]}, "high": 1.5}}, [1.5, 1.0, 0.0]),
        ({"scale": {"of": word("a"), "by": -2, "offset": 1}}, [-1.0, -1.0, 1.0]),
        ({"first": [word("a", least=1), word("b")]}, [1.0, 1.0, 0.0]),
        ({"first": [word("b", least=1), COUNTED]}, [1.0, 0.5, 0.5]),
    ],
)
def test_the_other_operators(tree: dict[str, Any], expected: list[float]) -> None:
    assert scores(tree, "a b", "a", "c") == expected


def test_a_product_that_is_0_and_a_first_that_is_settled_ask_no_more() -> None:
    judged({"product": [word("a"), COUNTED]}, "a", "b")
    assert ASKED == ["a"]
    judged({"first": [word("a", least=1), COUNTED]}, "a", "b")
    assert ASKED == ["b"]


def test_what_does_not_apply_counts_for_nothing() -> None:
    na = "a:na b"
    assert scores({"sum": [word("a"), word("b")]}, na) == [1.0]
    assert scores({"product": [word("a"), word("b")]}, na) == [1.0]
    assert scores({"min": [word("a"), word("b")]}, na) == [1.0]
    assert scores({"first": [word("a"), word("b")]}, na) == [1.0]
    assert scores({"gate": word("a"), "then": word("b")}, na) == [1.0]
    [verdict] = judged({"sum": [word("a"), word("b")]}, na)
    assert "a" not in verdict.parts and Mark.PARTS_MISSING in verdict.marks and Mark.NOT_APPLICABLE not in verdict.marks
    assert scores({"first": [word("b", least=1), word("a")]}, "a:na") == [0.0], "the last value that there was"


def test_a_row_to_which_nothing_applies_cannot_be_judged() -> None:
    for tree in (word("a"), {"sum": [word("a")]}, {"first": [word("a"), word("b")]}, {"scale": {"of": word("a")}}):
        [verdict] = judged(tree, "a:na b:na")
        assert (verdict.fault, verdict.score) == (Fault.GOLD, None)
        assert verdict.reason.startswith("no verifier applies to the row: ")


def test_a_node_none_of_whose_children_ran_is_worth_nothing() -> None:
    b_if_a = word("b", when="a")
    for tree in ({"sum": [b_if_a]}, {"product": [b_if_a]}, {"min": [b_if_a]}, {"clip": {"of": b_if_a, "low": -1}}):
        assert scores({"sum": [word("a", weight=0.5), tree]}, "b", "a b") == [0.0, 1.5]


@pytest.mark.parametrize("fault", [Fault.GOLD, Fault.INFRA])
def test_a_fault_of_a_needed_node_is_the_fault_of_the_whole(fault: Fault) -> None:
    tree = {"gate": word("tag"), "then": {"sum": [word("a"), COUNTED]}}
    needed, not_needed = judged(tree, f"tag a:{fault.value}", f"a:{fault.value}")
    assert (needed.fault, needed.score) == (fault, None)
    assert needed.reason.startswith("a: ") and needed.version == "probe.word@1"
    assert (not_needed.fault, not_needed.score) == (None, 0.0)
    assert ASKED == [], "nothing more is asked of a sample that has a fault"


def test_a_policy_fault_is_the_floor_of_its_node_and_stands_beside_the_score() -> None:
    [verdict] = judged({"sum": [word("a"), word("b")]}, "a:raise b")
    assert (verdict.fault, verdict.score) == (Fault.POLICY, 1.0)
    assert verdict.parts["a"] == 0.0 and Mark.PARTS_MISSING in verdict.marks


def test_a_lone_verifier_is_logged_under_its_name_beside_its_own_parts() -> None:
    [verdict] = judged({**word("a"), "weight": 3}, "a")
    assert verdict.score == 3.0
    assert dict(verdict.parts) == {"length": 1.0, "a": 1.0}


def test_a_named_node_is_logged_and_can_be_asked_for() -> None:
    tree = {
        "sum": [
            {"min": [word("a"), word("b")], "name": "both", "least": 1.0},
            {**COUNTED, "name": "bonus", "when": "both"},
        ]
    }
    both, one = judged(tree, "a b", "a")
    assert (both.score, both.parts["both"], both.parts["bonus"]) == (1.5, 1.0, 0.5)
    assert (one.score, one.parts["both"], "bonus" in one.parts) == (0.0, 0.0, False)


def test_the_same_answer_goes_through_each_node_once_in_a_call() -> None:
    judged({"sum": [word("a"), COUNTED]}, "x", "x", "y")
    assert ASKED == ["x", "y"]


def test_a_tree_is_written_as_it_was_read_and_defaults_make_no_difference() -> None:
    written = {"gate": word("tag"), "else": 0.5, "then": {"sum": [word("a", weight={"from": 1, "to": 2, "steps": 3})]}}
    node = RewardNode.model_validate(written)
    assert RewardNode.model_validate(node.model_dump(mode="json")) == node
    assert node.model_dump(mode="json") == written
    defaults = RewardNode.model_validate(
        {**written, "else": 0.5, "weight": 1.0, "name": None, "then": {**written["then"], "sum": [
            {**word("a"), "timeout_s": None, "weight": {"from": 1, "to": 2, "steps": 3}}]}}
    )  # fmt: skip
    assert defaults.model_dump(mode="json") == written
