"""Every sampler keeps these promises: it goes on from its state exactly, and refuses the state of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_rows import group_of, rows_of, sampler, saved

from rlpost.data.samplers import SampledRows
from rlpost.errors import DataError

SHUFFLED = {"kind": "shuffled"}
CURRICULUM = {"kind": "curriculum"}
CONFIGS = st.sampled_from(
    [
        SHUFFLED,
        CURRICULUM,
        {"kind": "curriculum", "revisit_share": 0.6, "rest_rounds": 3, "newest_share": 1},
        {"kind": "mixture", "mix": {"sums": 2}},
    ]
)


def play(one: Any, events: list[tuple[int, int]], *, at: int = 0) -> list[int]:
    """Rows that come when each event takes some rows and tells the scores of those that are open in part."""
    taken: list[int] = []
    for number, (count, luck) in enumerate(events, start=at):
        rows = one.next(count)
        taken += rows
        rates = np.random.default_rng([number, luck]).integers(0, 3, (len(rows), 4))
        one.observe(
            [group_of(row, *(float(rate > 0) for rate in of_row)) for row, of_row in zip(rows, rates, strict=True)]
        )
    return taken


EVENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=25)


@settings(deadline=None)
@given(config=CONFIGS, count=st.integers(1, 30), seed=st.integers(0, 2**61), events=EVENTS, cut=st.integers(0, 25))
def test_a_sampler_goes_on_from_its_state_as_if_it_had_never_stopped(
    config: dict[str, Any], count: int, seed: int, events: list[tuple[int, int]], cut: int
) -> None:
    rows = rows_of(sums=count)
    whole, first, again = (sampler(config, rows, seed=seed) for _ in range(3))
    expected = play(whole, events)
    before = play(first, events[:cut])
    again.load(saved(first.state()))
    assert before + play(again, events[cut:], at=len(events[:cut])) == expected
    assert saved(again.state()) == saved(whole.state())


@given(config=CONFIGS, count=st.integers(1, 30), parts=st.lists(st.integers(0, 12), max_size=10))
def test_rows_do_not_depend_on_how_many_are_asked_for_at_once(
    config: dict[str, Any], count: int, parts: list[int]
) -> None:
    whole, cut = sampler(config, rows_of(sums=count)), sampler(config, rows_of(sums=count))
    assert [row for part in parts for row in cut.next(part)] == whole.next(sum(parts))


@pytest.mark.parametrize("config", [SHUFFLED, CURRICULUM, {"kind": "mixture", "mix": {"sums": 1}}])
def test_the_state_of_another_data_set_is_refused(config: dict[str, Any]) -> None:
    state = sampler(config, rows_of(sums=5)).state()
    for other in (rows_of(sums=6), SampledRows([f"sums/{row}" for row in (0, 1, 2, 4, 3)])):
        fresh = sampler(config, other)
        with pytest.raises(DataError, match=r"saved state of the sampler must be that of .*remove its checkpoints"):
            fresh.load(saved(state))
        assert fresh.next(3) == sampler(config, other).next(3), "a state that is refused changes nothing"


def test_the_state_of_another_kind_of_sampler_is_refused() -> None:
    with pytest.raises(DataError, match=r"that of a curriculum sampler .* found the state of a shuffled sampler"):
        sampler(CURRICULUM, rows_of(sums=5)).load(sampler(SHUFFLED, rows_of(sums=5)).state())


@given(count=st.integers(1, 40), parts=st.lists(st.integers(1, 50), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_shuffled_every_row_comes_once_an_epoch(count: int, parts: list[int], seed: int) -> None:
    one = sampler(SHUFFLED, rows_of(sums=count), seed=seed)
    order = [row for part in parts for row in one.next(part)]
    epochs = [order[start : start + count] for start in range(0, len(order), count)]
    for epoch in epochs[:-1]:
        assert sorted(epoch) == list(range(count))
    assert len(set(epochs[-1])) == len(epochs[-1])


def test_shuffled_epochs_and_seeds_differ_in_order() -> None:
    one, other = sampler(SHUFFLED, rows_of(sums=50)), sampler(SHUFFLED, rows_of(sums=50), seed=1)
    first, second = one.next(50), one.next(50)
    assert len({tuple(first), tuple(second), tuple(other.next(50)), tuple(range(50))}) == 4


def test_shuffled_has_the_order_that_runs_before_samplers_had() -> None:
    assert sampler(SHUFFLED, rows_of(sums=10), seed=7).next(14) == [
        *np.random.default_rng([7, 0]).permutation(10),
        *np.random.default_rng([7, 1]).permutation(10)[:4],
    ]
