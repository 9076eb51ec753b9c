"""Planted overlaps are found exactly, with the edges of both rules; a search over all pairs agrees on random texts."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpost.data.overlap.contamination import InstanceIndex, Overlap, Rule, merged_ranges, set_report
from rlpost.data.overlap.words import instance_turns, row_turns, words_of
from rlpost.data.prompt_wording import reword
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


def test_a_short_turn_that_a_row_repeats_covers_its_words_once() -> None:
    index = InstanceIndex([[["yes", "please"], ["go", "on", "now"]]], rule=RULE)
    assert index.overlaps([[["yes", "please"], ["yes", "please"]]]) == []
    assert index.overlaps([[["yes", "please"], ["go", "on", "now"]]]) == [Overlap(0, 0, 1.0)]


def test_a_short_turn_that_an_instance_repeats_is_covered_at_both_places() -> None:
    index = InstanceIndex([[["yes", "please"], ["go", "on"], ["yes", "please"]]], rule=RULE)
    assert index.overlaps([[["yes", "please"]]]) == [Overlap(0, 0, 4 / 6)]


def test_a_long_line_of_one_sign_takes_time_in_its_length_not_in_its_square() -> None:
    index = InstanceIndex([[["-"] * 3000]], rule=RULE)
    started = time.process_time()
    assert index.shares([["-"] * 50_000]) == {0: 1.0}
    assert time.process_time() - started < 2


def test_case_spacing_quotation_marks_and_unicode_form_do_not_hide_an_overlap() -> None:
    instance = words_of('Caf\u00e9 number 3: how many cups of tea don\'t they "sell"?')
    row = words_of("cafe\u0301  NUMBER \uff13:\nhow many cups of TEA don\u2019t they \u201csell\u201d?")
    assert row == instance
    assert overlaps(instance, row) == [Overlap(0, 0, 1.0)]


def test_words_keep_their_marks_and_scripts_without_spaces_are_read_by_letter() -> None:
    assert words_of("\u0939\u093f\u0928\u094d\u0926\u0940 2 \u092d\u093e\u0937\u093e") == [
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "2",
        "\u092d\u093e\u0937\u093e",
    ]
    assert words_of("\u4e09\u4e2aapples\u3002") == ["\u4e09", "\u4e2a", "apples", "\u3002"]
    assert words_of("\u0e17\u0e35\u0e48") == ["\u0e17\u0e35\u0e48"]


@given(text=st.text(st.characters(max_codepoint=127)))
def test_letters_beyond_ascii_elsewhere_in_a_text_change_no_word(text: str) -> None:
    assert words_of(f"{text} \u00e9") == [*words_of(text), "\u00e9"]


def test_a_chinese_question_is_found_within_a_longer_text() -> None:
    question = "\u5c0f\u660e\u6709\u4e09\u4e2a\u82f9\u679c\u4ed6\u53c8\u4e70\u4e86\u4e24\u4e2a"
    row = f"\u8bf7\u56de\u7b54{question}\u8c22\u8c22"
    assert overlaps(words_of(question), words_of(row)) == [Overlap(0, 0, 1.0)]


def test_many_combining_marks_take_time_in_their_number_not_in_its_square() -> None:
    started = time.process_time()
    words_of("a" + "\u0301\u0327" * 60_000)
    assert time.process_time() - started < 2


def test_user_turns_are_compared_unless_answers_are_wanted_too() -> None:
    example = Example(
        id="d/0",
        dataset="d",
        messages=(Message(role="system", content="Be kind."), Message(role="user", content="How are you")),
        completion=assistant_turn("Fine"),
        rejected=assistant_turn("Go away"),
    )
    for read in (row_turns, instance_turns):
        assert read(example, turns="user") == [["how", "are", "you"]]
        assert read(example, turns="all") == [["how", "are", "you"], ["fine"], ["go", "away"]]


INSTRUCTION = f"{' '.join(numbered(0, 40))} {{question}}"


def instructed(question: str, *, instruction: str | None = INSTRUCTION) -> Example:
    example = Example(id="d/0", dataset="d", messages=(Message(role="user", content=question),))
    return reword(example, instruction=instruction, system=None)


def test_an_instruction_that_the_recipe_adds_to_both_sets_is_no_overlap() -> None:
    instance = instance_turns(instructed(" ".join(numbered(100, 12))), turns="user")
    row = row_turns(instructed(" ".join(numbered(200, 12))), turns="user")
    assert InstanceIndex([instance], rule=RULE).shares([*row]) == {}


def test_the_recipes_instruction_does_not_hide_a_quotation_of_the_source() -> None:
    question = " ".join(numbered(100, 12))
    index = InstanceIndex([instance_turns(instructed(question), turns="user")], rule=RULE)
    for instruction in (None, INSTRUCTION):
        row = row_turns(instructed(question, instruction=instruction), turns="user")
        assert index.overlaps([row]) == [Overlap(0, 0, 1.0)]


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


TURNS = st.lists(st.lists(st.sampled_from("ab"), max_size=7), min_size=1, max_size=4)


@given(instance=TURNS, row=TURNS)
def test_the_share_over_several_turns_is_that_of_a_search_over_all_pairs(
    instance: list[list[str]], row: list[list[str]]
) -> None:
    size = 3
    is_short = all(len(turn) < size for turn in instance)
    covered = 0
    for turn in instance:
        if is_short:
            covered += len(turn) if turn in row else 0
        else:
            starts = {
                start
                for start in range(len(turn) - size + 1)
                for other in row
                if any(other[place : place + size] == turn[start : start + size] for place in range(len(other)))
            }
            covered += len({start + step for start in starts for step in range(size)})
    words = sum(map(len, instance))
    index = InstanceIndex([instance], rule=Rule(ngram_size=size, instance_share=0.5))
    assert index.shares(row).get(0, 0.0) == pytest.approx(covered / max(1, words))
