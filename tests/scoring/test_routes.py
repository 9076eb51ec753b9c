from __future__ import annotations

from typing import Any

import pytest

from rlpost.recipe.schema import Recipe
from rlpost.scoring.routes import check_rewards


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
    assert check_rewards(recipe(rewards)) == []


def test_every_problem_is_named_at_once() -> None:
    problems = check_rewards(
        recipe(
            {
                "routes": {
                    "sums": {"verifier": "math.equal"},
                    "wordz": {"verifier": "text.exact", "params": {"whre": "auto"}},
                }
            }
        )
    )
    assert len(problems) == 4
    assert problems[0].startswith("rewards.routes.sums: no verifier is called `math.equal`: did you mean")
    assert problems[1] == "rewards.routes.wordz: text.exact has no parameter `whre`: did you mean `where`?"
    assert problems[2].startswith("data set words is judged in stage rl but rewards.routes has no entry for it")
    assert problems[3] == "rewards.routes.wordz: no data set has this name: did you mean `words`?"


def test_stages_that_need_scores_need_rewards() -> None:
    assert check_rewards(recipe(None)) == ["stage rl needs scores: add a `rewards` section"]


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
