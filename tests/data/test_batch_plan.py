"""A plan uses every row once an epoch, whatever the step size, and remembers nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rlpost.data.batches import BatchPlan


@given(row_count=st.integers(1, 40), rows_per_step=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_every_row_comes_once_an_epoch(row_count: int, rows_per_step: int, seed: int) -> None:
    plan = BatchPlan(row_count=row_count, rows_per_step=rows_per_step, seed=seed)
    steps = -(-3 * row_count // rows_per_step)
    parts = [plan.rows_at(step) for step in range(steps)]
    assert all(len(part) == rows_per_step for part in parts)
    order = np.concatenate(parts)
    for epoch in range(3):
        assert sorted(order[epoch * row_count : (epoch + 1) * row_count]) == list(range(row_count))


def test_a_resumed_plan_continues_as_the_uninterrupted_one() -> None:
    whole = [BatchPlan(row_count=10, rows_per_step=4, seed=7).rows_at(step).tolist() for step in range(9)]
    resumed = BatchPlan(row_count=10, rows_per_step=4, seed=7)
    assert [resumed.rows_at(step).tolist() for step in range(5, 9)] == whole[5:]
    assert resumed.rows_at(0).tolist() == whole[0]


def test_epochs_and_seeds_differ_in_order() -> None:
    plan = BatchPlan(row_count=50, rows_per_step=50, seed=0)
    assert plan.rows_at(0).tolist() != plan.rows_at(1).tolist()
    assert plan.rows_at(0).tolist() != BatchPlan(row_count=50, rows_per_step=50, seed=1).rows_at(0).tolist()
    assert plan.rows_at(0).tolist() != list(range(50))
