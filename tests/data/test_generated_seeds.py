"""Generated rows for seeds that are larger than some tasks take."""

from __future__ import annotations

import pytest
from opened import load_examples

from rlpost.recipe.sections import LARGEST_SEED, DataConfig
from rlpost.records import Example


def rows_of(task: str, *, seed: int) -> list[Example]:
    return load_examples("set", DataConfig(source=f"reasoning_gym:{task}", rows=2, seed=seed))


@pytest.mark.parametrize("task", ["chain_sum", "pool_matrix", "rubiks_cube", "sudoku"])
def test_every_task_takes_the_largest_seed(task: str) -> None:
    first, other = (rows_of(task, seed=seed) for seed in (LARGEST_SEED, 7))
    assert first == rows_of(task, seed=LARGEST_SEED)
    assert [example.messages for example in first] != [example.messages for example in other]
