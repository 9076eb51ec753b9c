from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import make_prompt

from rlpost.errors import RewardError
from rlpost.recipe.schema import Recipe
from rlpost.scoring.routes import check_rewards, columns_read, refuse_unrouted


def recipe(rewards: dict[str, Any] | None) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "r",
            "output": "runs/r",
            "model": {"path": "m", "max_length": 64},
            "data": {
                "sums": {"source": "jsonl:sums.jsonl"},
                "words": {"source": "jsonl:words.jsonl"},
                "books": {"source": "jsonl:books.jsonl"},
            },
            "rewards": rewards,
            "stages": [
                {
                    "name": "rl",
                    "kind": "grpo",
                    "data": ["sums", "words"],
                    "steps": 1,
                    "prompts_per_step": 1,
                    "samples_per_prompt": 2,
                    "sampling": {"max_tokens": 8},
                    "optimizer": {"learning_rate": 1e-3},
                }
            ],
        }
    )


def found(rewards: dict[str, Any] | None) -> list[str]:
    """Key path and text of each problem."""
    return [f"{'.'.join(map(str, one.path))}: {one.text}" for one in check_rewards(recipe(rewards))]


MATH = {"verifier": "math.equivalent"}


@pytest.mark.parametrize(
    "rewards",
    [
        {"routes": {"sums": MATH, "words": {"verifier": "text.exact", "params": {"where": "auto"}}}},
        {"routes": {"sums": MATH, "*": MATH}},
        {"route_by": "topic", "routes": {"geography": MATH}},
    ],
)
def test_sound_rewards_have_no_problems(rewards: dict[str, Any]) -> None:
    assert found(rewards) == []


def test_every_problem_is_named_at_once() -> None:
    problems = found(
        {
            "routes": {
                "sums": {"verifier": "math.equal"},
                "wordz": {"verifier": "text.exact", "params": {"whre": "auto"}},
            }
        }
    )
    assert len(problems) == 4
    assert problems[0].startswith("rewards.routes.sums.verifier: no verifier is called `math.equal`: did you mean")
    assert problems[1] == "rewards.routes.wordz.params: text.exact has no parameter `whre`: did you mean `where`?"
    assert problems[2].startswith("rewards.routes: data set words is judged in stage rl but rewards.routes has no")
    assert problems[3] == "rewards.routes.wordz: no data set has this name: did you mean `words`?"


def test_stages_that_need_scores_need_rewards() -> None:
    assert found(None) == ["rewards: stage rl needs scores: add a `rewards` section"]


def test_reasoning_gym_data_without_a_route_is_judged_by_its_own_task() -> None:
    recipe = Recipe.model_validate(
        {
            "name": "own-verifier",
            "output": "runs/own-verifier",
            "model": {"path": "/models/none", "max_length": 64},
            "data": {
                "sums": {"source": "reasoning_gym:chain_sum", "rows": 4},
                "words": {"source": "reasoning_gym:word_sorting", "rows": 4},
            },
            "rewards": {"routes": {"sums": {"verifier": "math.equivalent"}}},
            "stages": [
                {
                    "name": "grpo",
                    "kind": "grpo",
                    "data": ["sums", "words"],
                    "steps": 1,
                    "prompts_per_step": 1,
                    "samples_per_prompt": 2,
                    "sampling": {"max_tokens": 8},
                    "optimizer": {"learning_rate": 1e-5},
                }
            ],
        }
    )
    assert check_rewards(recipe) == []
    judging = recipe.judging()
    assert judging is not None
    assert {name: route.verifier for name, route in judging.routes.items()} == {
        "sums": "math.equivalent",
        "words": "reasoning_gym",
    }


def test_a_row_without_a_route_is_refused_before_anything_starts() -> None:
    by_topic = recipe({"route_by": "topic", "routes": {"geography": MATH}})
    sound = replace(make_prompt(0), meta={"topic": "geography"})
    refuse_unrouted(by_topic, [sound])
    with pytest.raises(RewardError, match=r"sums/1 must have a route; its `topic` is 'geografy': did you mean"):
        refuse_unrouted(by_topic, [sound, replace(make_prompt(1), meta={"topic": "geografy"})])
    refuse_unrouted(recipe({"route_by": "topic", "routes": {"*": MATH}}), [make_prompt(2)])


def test_what_rows_cannot_be_judged_without_is_that_of_all_verifiers_of_their_route() -> None:
    hinted = {"verifier": "probe_verifiers:same_inline"}
    tree = {"gate": {"verifier": "probe_verifiers:word"}, "then": {"sum": [MATH, hinted]}}
    assert columns_read(recipe({"routes": {"sums": tree, "*": MATH}})) == {"sums": ("gold", "hint"), "words": ("gold",)}
    by_topic = {"route_by": "topic", "routes": {"geography": MATH}}
    assert columns_read(recipe(by_topic)) == {"sums": ("topic",), "words": ("topic",)}
    assert columns_read(recipe({**by_topic, "routes": {"*": MATH}})) == {"sums": (), "words": ()}


def test_all_that_is_wrong_with_a_tree_is_told_with_its_place() -> None:
    tree = {
        "gate": {"min": [{"verifier": "text.exact", "name": "a"}]},
        "then": {
            "sum": [
                {"verifier": "text.exact", "name": "a"},
                {"product": [{"verifier": "text.contains"}], "name": "both"},
                {"verifier": "text.exact", "when": "both", "params": {"whre": "auto"}},
                {"verifier": "math.equivalent", "when": "text.exact"},
                {"verifier": "probe_verifiers:same", "when": "texd.exact"},
            ]
        },
    }
    problems = found({"routes": {"*": tree}})
    assert [problem.partition(": ")[0].removeprefix("rewards.routes.*.") for problem in problems] == [
        "gate",
        "then.sum.0.name",
        "then.sum.2.when",
        "then.sum.2.params",
        "then.sum.4.when",
    ]
    assert "'both' stands for several verifiers: give it `least`" in problems[2]
    assert problems[4].endswith("called 'texd.exact': did you mean `text.exact`?")


def test_parts_of_the_advantage_are_held_against_the_tree_and_own_parts_are_let_through() -> None:
    tree = {"sum": [{**MATH, "name": "right"}]}

    def with_parts(**parts: float) -> list[str]:
        written = recipe({"routes": {"*": tree}})
        advantage = written.stages[0].advantage.model_copy(update={"parts": parts})
        stage = written.stages[0].model_copy(update={"advantage": advantage})
        return [problem.text for problem in check_rewards(written.model_copy(update={"stages": [stage]}))]

    assert with_parts(**{"right": 1.0, "right.recall": 0.5}) == []
    assert with_parts(rihgt=1.0) == ["`rewards` has no part of this name: did you mean `right`?"]
