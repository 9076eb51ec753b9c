"""Data sets that come several times, or in part, in each epoch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError
from sampled_rows import CONFIG, rows_of, sampler, saved

from rlpost.errors import DataError

ROWS = rows_of(a=10, b=10, c=4)
MIXED: dict[str, Any] = {"kind": "repeated", "times": {"a": 3, "b": 0.5}, "rows": {"c": 6}}
EPOCH = 30 + 5 + 6


def counts(config: dict[str, Any], *, count: int, seed: int = 0) -> Counter[str]:
    return Counter(ROWS.ids[index] for index in sampler(config, ROWS, seed=seed).next(count))


def test_an_epoch_has_each_data_set_as_often_as_it_says() -> None:
    found = counts(MIXED, count=EPOCH)
    assert [found[f"a/{row}"] for row in range(10)] == [3] * 10
    assert sorted(found[f"b/{row}"] for row in range(10)) == [0] * 5 + [1] * 5
    assert sorted(found[f"c/{row}"] for row in range(4)) == [1, 1, 2, 2]
    assert CONFIG.validate_python(MIXED).epoch_rows({"a": 10, "b": 10, "c": 4}) == EPOCH


def test_every_epoch_has_the_same_rows_in_another_order() -> None:
    made = sampler(MIXED, ROWS)
    first, second = made.next(EPOCH), made.next(EPOCH)
    assert Counter(first) == Counter(second)
    assert first != second


def test_the_part_of_a_data_set_depends_on_the_seed_and_not_on_the_other_sets() -> None:
    half = {"kind": "repeated", "times": {"b": 0.5}}

    def taken(found: Counter[str]) -> set[str]:
        return {row for row in found if row.startswith("b/")}

    assert taken(counts(half, count=19)) == taken(counts(MIXED, count=EPOCH))
    assert taken(counts(half, count=19)) != taken(counts(half, count=19, seed=1))


def test_a_sampler_continues_in_the_middle_of_an_epoch() -> None:
    straight, begun, resumed = (sampler(MIXED, ROWS) for _ in range(3))
    expected = straight.next(100)
    assert begun.next(57) == expected[:57]
    resumed.load(saved(begun.state()))
    assert resumed.next(43) == expected[57:]


def test_a_state_is_not_that_of_another_kind() -> None:
    with pytest.raises(DataError, match="must be that of a repeated sampler"):
        sampler(MIXED, ROWS).load(saved(sampler({"kind": "shuffled"}, ROWS).state()))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"times": {"a": 1}, "rows": {"a": 2}}, "a has both"),
        ({}, "needs `times` or `rows`"),
        ({"times": {"a": -1}}, "greater than or equal to 0"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CONFIG.validate_python({"kind": "repeated", **config})


def test_a_mixture_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="takes no row of a, b, c"):
        sampler({"kind": "repeated", "times": dict.fromkeys("abc", 0)}, ROWS)
