"""How the groups of a step are split into the mini-batches of its optimizer steps."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import make_group, scored
from hypothesis import given
from hypothesis import strategies as st
from rl_batches import batches_of, grpo, minibatches_of, ppo

from rlpost.stages.rl.batch import optimizer_steps


def test_minibatches_split_the_groups_in_order_each_with_its_own_denominator() -> None:
    groups = [make_group(scored(1, 0), lengths=[length, length], index=length) for length in (1, 2, 3, 4)]
    stage = grpo(minibatches=2, epochs=2)
    assert optimizer_steps(stage) == 4
    first, second, *again = batches_of(groups, stage)
    assert (first.row_lengths_B.tolist(), first.components[0].denominator) == ([3, 3, 4, 4], 6)
    assert (second.row_lengths_B.tolist(), second.components[0].denominator) == ([5, 5, 6, 6], 14)
    assert sorted(length for batch in again for length in batch.row_lengths_B) == [3, 3, 4, 4, 5, 5, 6, 6]


@pytest.mark.parametrize("kind", [grpo, ppo])
def test_every_further_pass_has_minibatches_of_its_own_that_the_seed_and_the_step_decide(kind: Any) -> None:
    groups = [make_group(scored(1, 0), lengths=[length, length], index=length) for length in range(1, 9)]
    stage = kind(prompts_per_step=8, minibatches=2, epochs=4)

    def passes(*, version: int, seed: int = 0) -> list[list[int]]:
        """The prompts of each pass, in the order of its mini-batches; a group's length is its name."""
        lengths = [
            batch.row_lengths_B[::2].tolist() for _, batch in minibatches_of(groups, stage, version=version, seed=seed)
        ]
        return [lengths[start] + lengths[start + 1] for start in range(0, 8, 2)]

    first, *further = passes(version=3)
    assert first == [3, 4, 5, 6, 7, 8, 9, 10], "the first pass keeps the order of the prompts"
    assert all(sorted(lengths) == first for lengths in further), "every pass has every group"
    assert len({frozenset(lengths[:4]) for lengths in (first, *further)}) == 4, "and other ones together"
    assert passes(version=3) == [first, *further], "a resumed run gets the same ones"
    assert passes(version=4) != [first, *further] != passes(version=3, seed=1)
    largest = minibatches_of(groups, stage, seed=2**62 - 1)
    assert len(largest) == 8


def test_a_pass_that_is_one_minibatch_keeps_the_order_of_its_rows() -> None:
    groups = [make_group(scored(1, 0), lengths=[length, length], index=length) for length in (1, 2, 3, 4)]
    first, *further = batches_of(groups, ppo(minibatches=1, epochs=3))
    assert [batch.token_ids.tolist() for batch in further] == [first.token_ids.tolist()] * 2


@given(has_signal=st.lists(st.booleans(), min_size=1, max_size=6), epochs=st.integers(1, 3), version=st.integers(0, 99))
def test_a_minibatch_without_signal_leaves_its_number_out_so_that_the_others_keep_their_place_in_the_plan(
    has_signal: list[bool], epochs: int, version: int
) -> None:
    count = len(has_signal)
    groups = [
        make_group(scored(1, float(not signal)), lengths=[place + 1] * 2, index=place)
        for place, signal in enumerate(has_signal)
    ]
    stage = grpo(prompts_per_step=count, minibatches=count, epochs=epochs)
    found = minibatches_of(groups, stage, version=version)
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers)) and all(0 <= number < optimizer_steps(stage) for number in numbers)
    assert [number for number in numbers if number < count] == [i for i, signal in enumerate(has_signal) if signal]
    for again in range(epochs):
        lengths = [batch.row_lengths_B[0] - 2 for number, batch in found if number // count == again]
        assert sorted(lengths) == [place + 1 for place, signal in enumerate(has_signal) if signal]
