from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some
from learner_inputs import random_batch

from rlpost.learner.packing import plan_micro_batches
from rlpost.train_records import TrainBatch, one_component


def batch_with_lengths(lengths: list[int], *, rows_per_unit: int) -> TrainBatch:
    tokens = np.zeros(sum(lengths), np.float32)
    return TrainBatch(
        token_ids=tokens.astype(np.int32),
        row_lengths_B=np.array(lengths, np.int32),
        weights_T=tokens,
        columns={},
        components=one_component("tokens", 1.0),
        component_T=None,
        temperature=1.0,
        rows_per_unit=rows_per_unit,
    )


@settings(max_examples=300, deadline=None)
@given(
    lengths=some.lists(some.integers(1, 200), min_size=2, max_size=40).filter(lambda lengths: len(lengths) % 2 == 0),
    rows_per_unit=some.sampled_from([1, 2]),
    ranks=some.integers(1, 9),
    budget=some.integers(16, 400),
)
def test_a_plan_has_every_row_once_units_whole_and_as_many_micro_batches_on_every_rank(
    lengths: list[int], rows_per_unit: int, ranks: int, budget: int
) -> None:
    batch = batch_with_lengths(lengths, rows_per_unit=rows_per_unit)
    plan = plan_micro_batches(batch, ranks=ranks, token_budget=budget)

    assert len(plan) == ranks
    assert len({len(micro_batches) for micro_batches in plan}) == 1
    assert sorted(row for rank in plan for rows in rank for row in rows) == list(range(len(lengths)))
    for rows in (rows for rank in plan for rows in rank):
        units = [rows[start : start + rows_per_unit] for start in range(0, len(rows), rows_per_unit)]
        assert all(unit == list(range(unit[0], unit[0] + rows_per_unit)) for unit in units)
        assert all(unit[0] % rows_per_unit == 0 for unit in units)
        assert sum(lengths[row] for row in rows) <= budget or len(units) == 1
    assert plan == plan_micro_batches(batch, ranks=ranks, token_budget=budget)


def test_ranks_get_nearly_the_same_number_of_tokens() -> None:
    lengths = np.random.default_rng(0).integers(50, 1000, 512).tolist()
    plan = plan_micro_batches(batch_with_lengths(lengths, rows_per_unit=1), ranks=8, token_budget=4096)
    loads = [sum(lengths[row] for rows in rank for row in rows) for rank in plan]
    assert max(loads) <= 1.02 * min(loads)


def test_ranks_without_rows_get_empty_micro_batches() -> None:
    assert plan_micro_batches(random_batch(seed=0, lengths=(9, 9)), ranks=3, token_budget=16) == [[[0]], [[1]], [[]]]


def test_twenty_thousand_rows_are_planned_in_less_than_a_second() -> None:
    lengths = np.random.default_rng(0).integers(10, 2000, 20_000).tolist()
    batch = batch_with_lengths(lengths, rows_per_unit=2)
    started = time.perf_counter()
    plan_micro_batches(batch, ranks=8, token_budget=8192)
    assert time.perf_counter() - started < 1.0


def test_rows_of_long_tailed_lengths_leave_less_than_three_percent_of_the_budget_unused() -> None:
    budget, random = 4096, np.random.default_rng(1)
    lengths = np.minimum(2000, 20 + random.lognormal(5.0, 1.0, 512)).astype(int).tolist()
    plan = plan_micro_batches(batch_with_lengths(lengths, rows_per_unit=1), ranks=2, token_budget=budget)
    passes = len(plan[0])
    assert 1 - sum(lengths) / (2 * passes * budget) < 0.03
    assert plan == plan_micro_batches(batch_with_lengths(lengths, rows_per_unit=1), ranks=2, token_budget=budget)


def test_rows_stay_in_order_where_another_order_saves_no_pass() -> None:
    batch = batch_with_lengths([10, 20, 5, 30, 10], rows_per_unit=1)
    assert plan_micro_batches(batch, ranks=1, token_budget=40) == [[[0, 1, 2], [3, 4]]]
    assert plan_micro_batches(batch, ranks=1, token_budget=80) == [[[0, 1, 2, 3, 4]]]


def test_best_fit_saves_the_passes_that_filling_in_order_would_waste() -> None:
    batch = batch_with_lengths([30, 30, 10, 10, 30, 10], rows_per_unit=1)
    assert plan_micro_batches(batch, ranks=1, token_budget=40) == [[[0, 2], [1, 3], [4, 5]]]
