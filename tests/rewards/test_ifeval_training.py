from __future__ import annotations

from typing import Any

import pytest
from ifeval_judging import judged, one, pairs

from rewards.ifeval_training import TRAINING
from rlpost.records import Fault

PHRASE = {"phrase": "Dance like nobody is watching you", "small_n": 2}
TWICE = "Dance like nobody was watching you. Dance like somebody is watching you."
COMPOSED = {"n_sent": 2, "n_words": 3}
FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("copy:repeat_phrase", PHRASE, TWICE, f"{TWICE}\nDance like nobody is watching you."),
    ("copy:repeat_phrase", PHRASE, TWICE, "Dance like nobody was watching you. Dance as somebody is watching you."),
    ("copy:repeat_phrase", PHRASE, TWICE, "Dance like nobody is watching you. Dance like we is watching you."),
    ("copy:copy", {"prompt_to_repeat": "Say hi, Ana."}, "say hi, Ana.", "Say hi, Ana. Hi!"),
    ("copy:copying_simple", {"prompt_to_repeat": " Say\n\nhi "}, "Say\n\nhi", "Say hi"),
    ("copy:copying_multiple", {"prompt_to_repeat": "Say hi", "N": 2}, "Say hi\n******\nsay hi", "Say hi\n******\nhi"),
    ("copy:copying_multiple", {"prompt_to_repeat": "Say hi", "N": 2}, "Say hi******Say hi", "Say hi"),
    ("new:copy_span_idx", {"prompt_to_repeat": "abcdef", "n_start": 1, "n_end": 4}, "BCD", "bc"),
    ("new:copy_span_idx", {"prompt_to_repeat": "abcdef", "n_start": 0, "n_end": 2}, "abc", "abcd"),
    ("new:copy_span_idx", {"prompt_to_repeat": "½ cup of tea", "n_start": 2, "n_end": 5}, "cup", "up"),
    ("detectable_format:sentence_hyphens", {}, "One is here.-Two is there.", "One is here. Two is there."),
    ("detectable_format:sentence_hyphens", {}, "One!-Two?", "One! - Two?"),
    ("detectable_format:sentence_hyphens", {}, "It is so.-Yes.", "Only one."),
    ("keywords:no_adjacent_consecutive", {}, "Cats sleep here", "Eat cats daily"),
    ("keywords:no_adjacent_consecutive", {}, '"Élan" zu Hause', '"Apples" (bake)'),
    ("detectable_format:square_brackets", {}, "[All] [of] [it.]", "[All] [of] [it]."),
    ("detectable_format:square_brackets", {}, "[One]\n[Two]", "[One] [] [Two]"),
    ("keywords:word_once", {"keyword": "cat"}, "A Cat sat.", "A cat in the catalogue."),
    ("keywords:word_once", {"keyword": "c++"}, "I like C++.", "I like C."),
    ("keywords:word_count_different_numbers", {"keyword": "a", "frequency": 2}, "a a", "a a a"),
    (
        "keywords:word_count_different_numbers",
        {"keyword": "cat", "frequency": 2, "relation": "at least"},
        "cat cat cat",
        "cat",
    ),
    ("keywords:exclude_word_harder", {"keyword": "cat"}, "A catalogue.", "A Cat, said she."),
    ("paragraphs:paragraphs", {}, "one\n***\ntwo", "one\n***\ntwo\n***\nthree"),
    ("paragraphs:paragraphs2", {}, "one\nstill one\n\ntwo", "one\ntwo"),
    ("first_word:first_word_sent", {"first_word": "so"}, "So it is. So be it!", "So it is. Be it so!"),
    ("first_word:first_word_sent", {"first_word": ["Well"]}, "Well, yes. Well done.", "Well, yes. Swell."),
    ("first_word:first_word_answer", {"first_word": "well-known"}, "**Well-known** it is", "Well it is"),
    ("last_word:last_word_sent", {"last_word": "so"}, 'Be it so. He said "so."', "Be it so. So it is."),
    ("last_word:last_word_answer", {"last_word": "river"}, "Down the River!", "The river runs."),
    ("detectable_format:bigram_wrapping", {}, "<<I am>> <<at home>> now", "<<I am>> at home"),
    ("detectable_format:bigram_wrapping", {}, "<<I am>>", "word"),
    ("detectable_format:bigram_wrapping", {}, "<<I am>>", "<< >> << >> word"),
    ("punctuation:punctuation_dot", {}, "No dots!", "One dot."),
    ("punctuation:punctuation_dot", {}, "No dots", "Three dots\u2026"),
    ("punctuation:punctuation_exclamation", {}, "None.", "One\uff01"),
    ("count:lowercase_counting", {"N": 2}, "Two small Words here", "Two small words here"),
    ("count:lowercase_counting", {"N": 0}, "ALL CAPITALS", "ALL capitals"),
    ("letters:letter_counting", {"N": 4, "relation": "less than"}, "abc 123", "abcd"),
    ("letters:letter_counting", {"N": 4, "relation": "at least"}, "ab, cd", "abc \u00e9"),
    ("letters:letter_counting2", {"letter": "E", "let_frequency": 2, "let_relation": "at least"}, "Eve", "Ave"),
    (
        "count:counting_composition",
        COMPOSED,
        "I am here. You are there.\n* * *\nIt's so good. We don't know.\n* * *\nThe well-known end. That is it.",
        "I am here. You are there.\n* * *\nIt's so good. We don't know.",
    ),
    (
        "count:counting_composition",
        COMPOSED,
        "A b c. D e f.\n***\nA b c. D e f.\n***\nA b c. D e f.",
        "A b c. D e f.\n***\nA b c. D e.\n***\nA b c. D e f.",
    ),
    ("count:count_unique", {}, "One sun. Two moons.", "The sun and the moon"),
    ("count:count_increment_word", {"keyword1": "sun", "keyword2": "moon"}, "Moon, sun, moon.", "Sun, moon, sunmoon."),
    ("keywords:palindrome", {}, 'A "Level" field', "a field I saw"),
    ("keywords:palindrome", {}, "Say: yes. A man, a plan, a canal: Panama!", "A man, a plan, a channel: Panama!"),
    ("keywords:keyword_specific_position", {"keyword": "sun", "n": 2, "m": 2}, "Hi. The Sun, yes.", "Hi sun. Sun is."),
    ("keywords:keyword_specific_position", {"keyword": ["sun"], "n": 1, "m": 3}, "Oh, the sun", "Oh the, big sun"),
    ("keywords:start_end", {}, "Rain is just rain", "Rain is just rain."),
    ("keywords:start_end", {}, "So be it so", "So"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), pairs(FOLLOWED))
def test_a_constraint_is_followed_or_not(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert [judged(response, one(name, **arguments)).score for response in (good, bad)] == [1.0, 0.0]


def test_each_of_the_29_constraints_is_tested_above() -> None:
    assert {row[0] for row in FOLLOWED} == set(TRAINING)
    assert len(TRAINING) == 29


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("new:copy_span_idx", {"prompt_to_repeat": "abc", "n_start": 3, "n_end": 9}),
        ("new:copy_span_idx", {"prompt_to_repeat": "abc", "n_start": 2, "n_end": 0}),
        ("copy:repeat_phrase", {"phrase": "two words", "small_n": 2}),
        ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"}),
    ],
)
def test_arguments_that_no_text_can_follow_are_a_fault(name: str, arguments: dict[str, Any]) -> None:
    verdict = judged("a", one(name, **arguments))
    assert (verdict.fault, f"no text can follow {name}" in verdict.reason) == (Fault.GOLD, True)


def test_a_missing_argument_is_a_fault_and_not_drawn_by_lot() -> None:
    assert judged("a", one("keywords:word_once")).fault == Fault.GOLD
    assert judged("a", one("new:copy_span_idx", prompt_to_repeat="abc", n_end=2)).fault == Fault.GOLD
