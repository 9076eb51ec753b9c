"""How the groups of a step are split into the mini-batches of its optimizer steps."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import make_group, scored
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


def test_a_minibatch_without_signal_leaves_its_number_out_so_that_later_ones_keep_theirs() -> None:
    groups = [make_group(scored(*scores), index=index) for index, scores in enumerate([(1, 1), (1, 0), (0, 0), (0, 1)])]
    stage = grpo(prompts_per_step=4, minibatches=4)
    assert [number for number, _ in minibatches_of(groups, stage)] == [1, 3]
