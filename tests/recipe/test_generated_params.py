"""Parameters of reasoning-gym tasks are refused by `check` as the task itself refuses them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import reasoning_gym

from rlpost.recipe.generated_params import param_problems

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2}),
    ("countdown", {"min_numbers": 3, "max_numbers": 3}),
    ("knights_knaves", {"n_people": 3}),
    ("maze", {"min_dist": 3, "max_dist": 5}),
]


@pytest.mark.parametrize(
    ("task", "params", "words"),
    [
        ("chain_sum", {"min_digits": "banana"}, "must be of type int; found 'banana'"),
        ("chain_sum", {"min_digits": 1.5}, "must be of type int; found 1.5"),
        ("chain_sum", {"min_terms": -5}, "the task chain_sum needs min_terms > 0; min_terms is -5"),
        ("chain_sum", {"min_terms": 9}, "the task chain_sum needs max_terms >= min_terms; min_terms is 9"),
        ("chain_sum", {"min_term": 2}, "the task chain_sum has no such parameter; did you mean `min_terms`?"),
        ("chain_sum", {"size": 5}, "is set by the data set's own rows: remove it"),
        ("countdown", {"min_numbers": 1}, "the task countdown needs min_numbers > 1; min_numbers is 1"),
    ],
)
def test_what_the_task_would_refuse_is_refused_in_words(task: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises((AssertionError, TypeError, ValueError)):
        list(reasoning_gym.create_dataset(task, **{"size": 2}, **params))
    assert [found.text for found in param_problems(task, params)] == [words]


@pytest.mark.parametrize(("task", "params"), GOOD)
def test_what_the_task_accepts_is_accepted(task: str, params: dict[str, Any]) -> None:
    assert len(list(reasoning_gym.create_dataset(task, size=2, **params))) == 2
    assert list(param_problems(task, params)) == []


def test_defaults_of_no_task_are_refused() -> None:
    """Every task has a class that this can read, or none; its own defaults are never a problem."""
    from reasoning_gym.factory import DATASETS

    wrong = {task: found for task in DATASETS if (found := list(param_problems(task, {"seeds": 1})))}
    problems = {found.text for several in wrong.values() for found in several}
    assert len(wrong) > 80
    assert all("has no such parameter" in text for text in problems)


def test_it_takes_no_time() -> None:
    began_s = time.perf_counter()
    for task, params in GOOD:
        list(param_problems(task, params))
    assert time.perf_counter() - began_s < 1.0
