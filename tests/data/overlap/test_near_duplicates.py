from __future__ import annotations

import random

import pytest

from rlpost.data.overlap.near_duplicates import near_duplicates


def texts(count: int, *, seed: int) -> list[list[str]]:
    dice = random.Random(seed)
    return [[f"w{dice.randrange(500)}" for _ in range(60)] for _ in range(count)]


def with_changed_words(text: list[str], count: int) -> list[str]:
    return [f"x{place}" if place < count else word for place, word in enumerate(text)]


def test_planted_copies_are_found_and_nothing_else() -> None:
    rows = texts(200, seed=0)
    rows += [rows[3], with_changed_words(rows[7], 2), with_changed_words(rows[11], 40)]
    found = near_duplicates(rows, shingle_size=5, threshold=0.8)
    assert [(one.place, one.earlier) for one in found] == [(200, 3), (201, 7)]
    assert found[0].similarity == 1.0
    assert found[1].similarity == pytest.approx(54 / 58)


def test_what_is_reported_is_as_similar_as_the_threshold_says() -> None:
    rows = texts(50, seed=1)
    rows += [with_changed_words(row, count) for count in range(30) for row in rows[:4]]
    for threshold in (0.5, 0.7, 0.9):
        found = near_duplicates(rows, shingle_size=3, threshold=threshold)
        assert found
        assert all(one.similarity >= threshold for one in found)


def test_a_copy_of_a_copy_is_compared_with_the_first() -> None:
    (row,) = texts(1, seed=2)
    found = near_duplicates([row, row, row], shingle_size=5, threshold=0.8)
    assert [(one.place, one.earlier) for one in found] == [(1, 0), (2, 0)]


def test_texts_shorter_than_a_shingle_are_compared_whole() -> None:
    found = near_duplicates([["a", "b"], ["a", "c"], ["a", "b"]], shingle_size=5, threshold=0.8)
    assert [(one.place, one.earlier) for one in found] == [(2, 0)]
