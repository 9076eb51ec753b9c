"""Planted overlaps are found exactly, with the edges of both rules; a search over all pairs agrees on random texts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpost.data.overlap.contamination import InstanceIndex, Overlap, Rule, merged_ranges, set_report
from rlpost.data.overlap.words import turns_of, words_of
from rlpost.records import Example, Message, assistant_turn

RULE = Rule(ngram_size=8, instance_share=0.5)


def numbered(first: int, count: int) -> list[str]:
    return [f"w{number}" for number in range(first, first + count)]


def overlaps(instance: list[str], row: list[str]) -> list[Overlap]:
    return InstanceIndex([[instance]], rule=RULE).overlaps([[row]])


@pytest.mark.parametrize(("shared", "is_found"), [(8, False), (9, True)])
def test_half_of_the_words_is_clean_and_one_word_more_is_not(shared: int, is_found: bool) -> None:
    instance = numbered(0, 16)
    row = [*numbered(100, 5), *instance[:shared], *numbered(200, 5)]
    assert overlaps(instance, row) == ([Overlap(0, 0, shared / 16)] if is_found else [])


@pytest.mark.parametrize(("contaminated", "is_dirty"), [(2, False), (3, True)])
def test_two_percent_of_the_instances_is_clean_and_one_instance_more_is_not(contaminated: int, is_dirty: bool) -> None:
    found = [Overlap(row, row, 1.0) for row in range(contaminated)]
    report = set_report(found, instances=range(100), set_share=0.02)
    assert (report.contaminated, report.is_dirty) == (contaminated, is_dirty)


def test_matches_of_two_rows_do_not_add_up() -> None:
    instance = numbered(0, 20)
    index = InstanceIndex([[instance]], rule=RULE)
    assert index.overlaps([[instance[:9]], [instance[9:18]]]) == []
    assert index.overlaps([[instance[:9], instance[9:18]]]) == [Overlap(0, 0, 0.9)], "two turns of one row do"


def test_seven_successive_words_are_no_match() -> None:
    instance = numbered(0, 14)
    assert overlaps(instance, [*instance[:7], "x", *instance[7:]]) == []


def test_overlapping_and_repeated_ngrams_cover_each_word_once() -> None:
    instance = numbered(0, 20)
    row = [*instance[:12], *instance[:12], *instance[4:12]]
    assert overlaps(instance, row) == [Overlap(0, 0, 12 / 20)]
    assert overlaps(["a"] * 20, ["a"] * 8) == [Overlap(0, 0, 1.0)], "every place of the instance has this n-gram"


def test_ngrams_do_not_cross_turns_of_an_instance() -> None:
    index = InstanceIndex([[numbered(0, 6), numbered(6, 10)]], rule=RULE)
    assert index.overlaps([[numbered(0, 16)]]) == [Overlap(0, 0, 10 / 16)], "the first turn has no n-gram"


def test_a_short_instance_is_found_where_a_turn_is_equal_to_it() -> None:
    index = InstanceIndex([[words_of("2 + 2 =")]], rule=RULE)
    assert index.overlaps([[words_of("2 + 2 =")]]) == [Overlap(0, 0, 1.0)]
    assert index.overlaps([[words_of("What is 2 + 2 = ?")], [words_of("2 + 3 =")]]) == []


def test_case_spacing_and_unicode_form_do_not_hide_an_overlap() -> None:
    instance = words_of("Caf\u00e9 number 3: how many cups of tea do they sell?")
    row = words_of("cafe\u0301  NUMBER \uff13:\nhow many cups of TEA do they sell?")
    assert row == instance
    assert overlaps(instance, row) == [Overlap(0, 0, 1.0)]


def test_user_turns_are_compared_unless_all_are_wanted() -> None:
    example = Example(
        id="d/0",
        dataset="d",
        messages=(Message(role="system", content="Be kind."), Message(role="user", content="How are you")),
        completion=assistant_turn("Fine"),
        source_wording="How do you do",
    )
    asked, worded = ["how", "are", "you"], ["how", "do", "you", "do"]
    assert turns_of(example, turns="user") == [asked, worded]
    assert turns_of(example, turns="all") == [["be", "kind", "."], asked, ["fine"], worded]


def test_sets_follow_each_other_in_one_index() -> None:
    ranges = merged_ranges({"a": 2, "b": 3})
    assert ranges == {"a": range(2), "b": range(2, 5)}
    found = [Overlap(7, 1, 0.9), Overlap(7, 2, 0.8), Overlap(8, 2, 0.7)]
    first, second = (set_report(found, instances=places, set_share=0.02) for places in ranges.values())
    assert (first.contaminated, first.rows) == (1, 1)
    assert (second.contaminated, second.rows, second.share) == (1, 2, 1 / 3)


def by_all_pairs(instance: Sequence[str], row: Sequence[str], *, size: int) -> float:
    covered: set[int] = set()
    for start in range(len(instance) - size + 1):
        gram = list(instance[start : start + size])
        if any(list(row[place : place + size]) == gram for place in range(len(row) - size + 1)):
            covered.update(range(start, start + size))
    return len(covered) / len(instance)


TEXTS = st.lists(st.sampled_from("abc"), min_size=3, max_size=24)


@given(instance=TEXTS, row=TEXTS)
def test_the_share_is_that_of_a_search_over_all_pairs(instance: list[str], row: list[str]) -> None:
    index = InstanceIndex([[instance]], rule=Rule(ngram_size=3, instance_share=0.5))
    assert index.shares([row]).get(0, 0.0) == pytest.approx(by_all_pairs(instance, row, size=3))
