from __future__ import annotations

from typing import Any

import pytest
from ifeval_judging import judged, one, pairs

from rewards.ifeval_bench_words import WORDS, is_verb
from rewards.ifeval_syllables import count_syllables

KEYWORDS = {f"keyword{number}": word for number, word in enumerate(("ant", "bee", "cow", "dog", "eel"), start=1)}
PALINDROMES = "level radar civic kayak refer rotor madam tenet solos stats"
FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("count:word_count_range", {"min_words": 2, "max_words": 3}, "one two, three", "one two three four"),
    ("count:word_count_range", {"min_words": 2.0, "max_words": 3.0}, "one two", "one"),
    ("count:unique_word_count", {"N": 3}, "One two, three", "One two, ONE -- one."),
    ("count:conjunctions", {"small_n": 2}, "I do and, yet, I do not", "And I and you, and"),
    ("count:person_names", {"N": 2}, "Emma met Leo.", "Emma met Emma and Leon."),
    ("count:numbers", {"N": 2}, "1,000.5 of 10-20", "1 2 3"),
    ("count:numbers", {"N": 0}, "no numbers", "number 0"),
    ("count:punctuation", {}, "A, b; c: d! E? F?! G.", "A, b; c: d! F?! G."),
    ("count:punctuation", {}, "A, b; c: d! E? F\u203d G.", "A, b; c: d! E? G."),
    ("count:words_japanese", {"N": 2}, "one \u732b three \u72ac.", "one \u732b three four"),
    ("count:words_japanese", {"N": 2}, "one 12 three \u72ac", "one"),
    ("count:pronouns", {"N": 3}, "I'm she/her.", "I am Ana."),
    (
        "count:keywords_multiple",
        KEYWORDS,
        "Ant bee bee cow cow cow" + " dog" * 5 + " eel" * 7,
        "Ant bee bee cow cow cow" + " dog" * 5 + " eel" * 8,
    ),
    ("ratio:stop_words", {"percentage": 50}, "the cat and dog", "the cat and the dog"),
    ("ratio:overlap", {"reference_text": "abcdef", "percentage": 50}, "abcdxy", "abcdef"),
    ("ratio:overlap", {"reference_text": "abcdef", "percentage": 100}, "bcde", "ab"),
    ("words:alphabet", {}, "Yes, zebras always buy", "Yes, zebras buy"),
    ("words:alphabet", {}, "A big cat", "A"),
    ("words:vowel", {}, "Gray cats sit on top", "Use every vowel in a top hat"),
    ("words:vowel", {}, "A cat", "A cat\na bat"),
    ("words:consonants", {}, "Strong winds \u2014 bring storms.", "Strong winds are here."),
    ("words:palindrome", {}, PALINDROMES, "level " * 10),
    ("words:palindrome", {}, PALINDROMES.upper() + "!", PALINDROMES.replace("stats", "noon")),
    ("words:prime_lengths", {}, "It won us three.", "It wins well."),
    ("words:start_verb", {}, "Consider this.", "This is it."),
    ("words:start_verb", {}, "**Running** is fun.", "The run is fun."),
    ("words:start_verb", {}, "Don't go.", "Dogs bark."),
    ("words:repeats", {"small_n": 2}, "So, so good", "So, so SO good"),
    ("words:odd_even_syllables", {}, "The river runs away past open fields", "The cat sat"),
    ("words:odd_even_syllables", {}, "Happy cats", "cats"),
    ("words:last_first", {}, "I like rain. Rain is wet!", "I like rain. It is wet!"),
    ("words:last_first", {}, 'So it is "rain." Rain, then.', "Only one sentence."),
    ("words:paragraph_last_first", {}, "Rain, I love rain.\n\nSo be it so", "Rain, I love rain.\nNo more rain"),
    ("words:paragraph_last_first", {}, "So be it so", "Rain"),
    ("words:no_consecutive", {}, "One two more", "One two (three)"),
    ("words:no_consecutive", {}, "One two", "One"),
    ("words:keywords_specific_position", {"keyword": "sun", "n": 2, "m": 2}, "Hi. The Sun is up.", "Hi. Sun is up."),
    ("words:words_position", {"keyword": "so"}, "It so is, so here.", "It so is here so."),
    ("words:words_position", {"keyword": "so"}, "And SO on", "So so"),
    ("format:title_case", {}, "The Lord of the Rings on My iPhone", "the Lord of the Rings"),
    ("format:title_case", {}, "A NASA Well-known Thing", "A Nice thing"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), pairs(FOLLOWED))
def test_a_constraint_is_followed_or_not(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert [judged(response, one(name, **arguments)).score for response in (good, bad)] == [1.0, 0.0]


def test_each_constraint_of_words_is_tested_above() -> None:
    assert {row[0] for row in FOLLOWED} == set(WORDS)


@pytest.mark.parametrize(
    "word",
    [
        "go",
        "goes",
        "gone",
        "went",
        "tries",
        "tried",
        "stopped",
        "making",
        "used",
        "is",
        "analyzing",
        "lies",
        "whirring",
    ],
)
def test_a_form_of_a_verb_is_known(word: str) -> None:
    assert is_verb(word)


@pytest.mark.parametrize(
    "word", ["the", "however", "thing", "cats", "r", "red", "my", "yes", "ing", "here", "during", "string"]
)
def test_another_word_is_no_verb(word: str) -> None:
    assert not is_verb(word)


@pytest.mark.parametrize(
    ("word", "count"),
    [
        *[("a", 1), ("the", 1), ("cat", 1), ("make", 1), ("made", 1), ("makes", 1), ("used", 1), ("strength", 1)],
        *[("table", 2), ("wanted", 2), ("boxes", 2), ("being", 2), ("idea", 3), ("create", 2), ("science", 2)],
        *[("various", 3), ("nation", 2), ("national", 3), ("reality", 4), ("beautiful", 3), ("statement", 2)],
        *[("lovely", 2), ("rhythm", 2), ("tsk", 1), ("individuals", 5), ("experience", 4), ("society", 4)],
    ],
)
def test_syllables_are_counted_by_spelling(word: str, count: int) -> None:
    assert count_syllables(word) == count
