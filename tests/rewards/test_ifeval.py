from __future__ import annotations

import json
from typing import Any

import pytest
from ifeval_judging import judged, one

from rewards.ifeval import CASES, followed
from rewards.ifeval_classic import CLASSIC
from rewards.ifeval_text import sentences
from rlpost.records import Fault, Sample
from rlpost.scoring.authoring import Case, case_failure


@pytest.mark.parametrize("case", CASES, ids=[case.response[:30] for case in CASES])
def test_cases(case: Case) -> None:
    verdict = followed.judge(case.sample(), params=followed.validated(case.params))
    assert case_failure(followed, case, verdict=verdict) is None


PARAGRAPHS = 'One here.\n\nTwo here.\n\n"Three" here.'
FOLLOWED = [
    ("keywords:existence", {"keywords": ["river", "Mona Lisa"]}, "RIVERS and Mona Lisa", "rivers and Mona"),
    ("keywords:existence", {"keywords": ["c++ (17)"]}, "I like C++ (17).", "I like c (17)."),
    ("keywords:frequency", {"keyword": " day ", "frequency": 2}, "Day by day", "Day by night"),
    ("keywords:frequency", {"keyword": "day", "frequency": 2, "relation": "less than"}, "one day", "day to day"),
    ("keywords:forbidden_words", {"forbidden_words": ["gene", "c++"]}, "generic c+", "A GENE."),
    ("keywords:forbidden_words", {"forbidden_words": ["c++"]}, "c+", "I use C++."),
    ("keywords:letter_frequency", {"letter": "T", "let_frequency": 3, "let_relation": "at least"}, "tTt", "tT"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "less than"}, "a#", "#a#"),
    ("language:response_language", {"language": "es"}, "Desayunamos juntos hoy por la mañana.", "We had breakfast."),
    (
        "language:response_language",
        {"language": "zh"},
        "\u4e2d\u56fd\u7684\u9996\u90fd\u662f\u5317\u4eac\u3002",
        "Today we walk.",
    ),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "One, two!"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "Dr. J. Who?", "A? Be."),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "a b, c", "a b."),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "a b", "a b c"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\none\n *** \ntwo\n***", "one\n***\n***\ntwo"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one *** two", "one *** two *** three"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 3, "nth_paragraph": 3, "first_word": "three"},
        PARAGRAPHS,
        PARAGRAPHS.replace("Three", "Thr!ee"),
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "Two"},
        PARAGRAPHS,
        f"{PARAGRAPHS}\n\nFour.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [address]", "[name] at [] and [ ]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\np. s. one more", "Bye.\nP.S."),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye. P.P.S: two", "Bye. P.S. two"),
    ("detectable_content:postscript", {"postscript_marker": "PS:"}, "PS: more", "P.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n  -two\n***\n**b**", "* one\n* two\n- three"),
    ("detectable_format:constrained_response", {}, " My answer is no. I am sure.", "no"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* **two**", "*one\n* two * * **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Day", "num_sections": 2},
        "Day 1 swim\nDay 2: run",
        "Day 1 swim\nDay 2",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', '{"a": NaN}'),
    ("detectable_format:json_format", {}, "[1]", '"all in quotes"'),
    ("detectable_format:title", {}, "<<Song of joy>>\nla", "<< >>\n<<two\nlines>>"),
    ("combination:two_responses", {}, "one\n******\ntwo\n******", "one\n******\none"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\n******\ntwo"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write  it."}, "write it. Done.", "Done. Write it."),
    ("startend:end_checker", {"end_phrase": "The end."}, '"So. the end."', "The end. Really."),
    ("startend:quotation", {}, '"all of it"', '"some" of it'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "A NATO-2 b",
        "A Nato b",
    ),
    ("change_case:english_capital", {}, "THIS IS AN ENGLISH SENTENCE, ALL OF IT.", "This Is Not One."),
    ("change_case:english_capital", {}, "WE WALK IN THE PARK EVERY MORNING.", "DAS IST EIN DEUTSCHER SATZ ÜBER HUNDE."),
    ("change_case:english_lowercase", {}, "every letter of this is lowercase.", "Almost every letter is."),
    ("punctuation:no_comma", {}, "short and plain", "longer, by far"),
]


@pytest.mark.parametrize(("name", "kwargs", "good", "bad"), FOLLOWED)
def test_an_instruction_is_followed_or_not(name: str, kwargs: dict[str, Any], good: str, bad: str) -> None:
    scores = [judged(response, one(name, **kwargs)).score for response in (good, bad)]
    assert scores == [1.0, 0.0]


def test_each_of_the_25_kinds_is_tested_above() -> None:
    assert {row[0] for row in FOLLOWED} == set(CLASSIC)
    assert len(CLASSIC) == 25


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("xx,x. xx,x! xx/x. x{x}x?", 4),
        ("It costs 3.50 now. Really?!", 2),
        ("Mr. Smith met J. R. Brown... He left", 2),
        ("1. First\n2. Second.", 1),
        ('She said "no." Then I left.', 2),
        ("今天很好。我们去公园。", 2),
        ("... !!! ???", 0),
        ("i am here. you are there.", 2),
    ],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert len(sentences(text)) == count


@pytest.mark.parametrize(
    "gold",
    [
        None,
        3,
        "",
        "no json",
        "[" * 100_000,
        [],
        ["punctuation:no_comma"],
        {"kwargs": []},
        one("punctuation:no_commas"),
        one("punctuation:no_comma", keywords=["a"]),
        one("keywords:existence"),
        one("keywords:existence", keywords=[]),
        one("keywords:existence", keywords=None),
        one("length_constraints:number_words", num_words=2.5),
        one("length_constraints:number_words", num_words=float("inf")),
        one("length_constraints:number_words", num_words=2, relation="about"),
        one("keywords:letter_frequency", letter="ab", let_frequency=1),
        one("language:response_language", language="klingon"),
        {"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": {}},
    ],
)
def test_a_gold_that_cannot_be_read_is_a_fault_and_never_followed(gold: Any) -> None:
    verdict = followed.judge_together([Sample(id="s", prompt="", response="a", gold=gold)], params={})[0]
    assert (verdict.fault, verdict.score) == (Fault.GOLD, None)


PUBLISHED = {
    "instruction_id_list": ["punctuation:no_comma", "startend:quotation", "punctuation:no_comma"],
    "kwargs": [{"num_words": None}, {}, None],
}


@pytest.mark.parametrize("gold", [PUBLISHED, [PUBLISHED], json.dumps(PUBLISHED), json.dumps([PUBLISHED])])
def test_the_forms_of_published_data_sets_are_read(gold: Any) -> None:
    verdict = judged('"a, b"', gold, partial=True)
    assert verdict.score == pytest.approx(1 / 3)
    assert verdict.parts == {"punctuation:no_comma": 0.0, "startend:quotation": 1.0, "punctuation:no_comma#2": 0.0}
    assert (judged('"a, b"', gold).score, judged('"a b"', gold).score) == (0.0, 1.0)


@pytest.mark.parametrize("response", ['Sure, a\n"b"', '"b"\nBye, a', 'Sure, a\n*"b"*\nBye, a'])
def test_loose_forgives_a_first_line_a_last_line_and_asterisks(response: str) -> None:
    scores = [judged(response, PUBLISHED, loose=loose).score for loose in (False, True)]
    assert scores == [0.0, 1.0]


def test_loose_pays_no_text_that_is_empty_without_its_lines() -> None:
    assert judged("a, b", one("punctuation:no_comma"), loose=True).score == 0.0


def test_thoughts_are_not_judged() -> None:
    assert judged("one, two</think>three", one("punctuation:no_comma")).score == 1.0


def test_each_piece_of_a_long_text_must_be_of_the_language() -> None:
    english = "The river runs slowly through the quiet valley. " * 400
    german = "Der Fluss fließt langsam durch das stille Tal. " * 400
    gold = one("language:response_language", language="en")
    assert [judged(text, gold).score for text in (english, english + german)] == [1.0, 0.0]
