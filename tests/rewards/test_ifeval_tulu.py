from __future__ import annotations

import json
from typing import Any

import pytest
from ifeval_judging import judged, pairs

from rewards.ifeval_gold import read_instructions
from rewards.ifeval_tulu import TULU
from rlpost.records import Fault

FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("verify_keywords", {"keyword_list": ["river", "Mona"]}, "Rivers and mona", "Rivers"),
    ("verify_keyword_frequency", {"word": "Cat", "N": 2}, "The cat met a CAT near the catalogue.", "cat catalogue"),
    ("verify_keyword_frequency", {"word": "cat", "N": 2}, "cat, cat", "cat cat cat"),
    ("verify_keyword_frequency", {"word": "well-known", "N": 1}, "a well-known tune", "a well-knowns tune"),
    ("validate_forbidden_words", {"forbidden_words": ["cat"]}, "A dog.", "A Catalogue."),
    ("verify_letter_frequency", {"letter": "a", "N": 2}, "Anana", "Banana"),
    ("verify_letter_frequency", {"letter": "A", "N": 1}, "A banana", "a banana"),
    ("validate_response_language", {"language": "de"}, "Der Fluss fließt durch das Tal.", "The river runs slowly."),
    ("verify_paragraph_count", {"N": 2}, "one\n* * *\ntwo", "one\n***\ntwo"),
    ("verify_paragraph_count", {"N": 2}, "one * * * two", "one\n* * *\n"),
    ("validate_word_constraint", {"N": 3, "quantifier": "at least"}, "one two three-four", "one two"),
    ("validate_word_constraint", {"N": 3, "quantifier": "at most"}, "one two three", "one two three four"),
    ("validate_word_constraint", {"N": 20, "quantifier": "around"}, "word " * 22, "word " * 23),
    ("validate_word_constraint", {"N": 4, "quantifier": "around"}, "one two three", "one two"),
    ("verify_sentence_constraint", {"N": 2, "quantifier": "at least"}, "One! Two.", "One, e.g. two by Mr. Smith."),
    ("verify_sentence_constraint", {"N": 2, "quantifier": "at most"}, "One. Two?", "One. Two? Three."),
    ("verify_sentence_constraint", {"N": 4, "quantifier": "around"}, "One a. Two b. Three c.", "One a. Two b."),
    ("validate_paragraphs", {"N": 2, "first_word": "Beta", "i": 2}, "Alpha\n\nBeta two", "Alpha\n\nbeta two"),
    ("validate_paragraphs", {"N": 2, "first_word": "Alpha", "i": 1}, "Alpha\n\nBeta", "Alpha\n\n\n\nBeta"),
    ("verify_postscript", {"postscript_marker": "P.S."}, "Body.\nP.S. more", "Body.\np.s. more"),
    ("verify_postscript", {"postscript_marker": "P.P.S"}, "Body.\nP.P.S more", "Body.\nP.P.S ."),
    ("validate_placeholders", {"N": 2}, "[name] lives at [address]", "[name] lives at []"),
    ("verify_bullet_points", {"N": 2}, "Title\n* one\n  - two", "* one\n* two\n- three"),
    ("verify_bullet_points", {"N": 1}, "**Bold line**\n- one", "**Bold line**"),
    ("validate_title", {}, "<<Joy>>\nla", "<Joy>\nla"),
    ("validate_choice", {"options": ["yes", "no", "maybe"]}, "Yes.", "yes or no"),
    ("validate_choice", {"options": ["no", "yes"]}, "no, I know", "I know nothing"),
    ("validate_choice", {"options": ["A", "B"]}, "B is a better one", "Bananas"),
    ("validate_choice", {"options": ["A", "B"]}, "A", "a banana"),
    ("validate_choice", {"options": "I know or I don't know"}, "I don't know", "Who knows"),
    ("validate_choice", {"options": "a), b), c)"}, "b)", "a) and b)"),
    ("validate_highlighted_sections", {"N": 2}, "*one* and **two**", "**one** and two"),
    ("validate_sections", {"N": 2, "section_splitter": "Section"}, "Section 1 a\nSection 2 b", "Section 1 a"),
    ("validate_sections", {"N": 3, "section_splitter": "###"}, "Intro ### a ### b", "### a ### b"),
    ("validate_json_format", {}, '{"a": 1}', "{a: 1}"),
    ("validate_json_format", {}, '```json\n{"a": 1}\n```', '"a text"'),
    ("validate_repeat_prompt", {"original_prompt": "Say hi, please."}, "Say hi, please. Hi!", "Hi! Say hi, please."),
    ("validate_two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("validate_two_responses", {}, "one ****** two", "one\n******\ntwo\n******"),
    ("validate_uppercase", {}, "ÜBER 12 BERGE!", "ALMOST ALl"),
    ("validate_lowercase", {}, "über 12 berge!", "almost alL"),
    ("validate_frequency_capital_words", {"N": 2, "quantifier": "at least"}, "I GO home", "We GO home"),
    ("validate_frequency_capital_words", {"N": 1, "quantifier": "at most"}, "GO home", "GO HOME"),
    ("validate_frequency_capital_words", {"N": 5, "quantifier": "around"}, "A B C D e", "A B C d e"),
    ("validate_end", {"end_phrase": "The End."}, "So. The End.", "So. The end."),
    ("validate_quotation", {}, '"all of it"', '"some" of it'),
    ("validate_no_commas", {}, "one two", "one, two"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), pairs(FOLLOWED))
def test_a_constraint_is_followed_or_not(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    gold = {"func_name": name, **arguments}
    assert [judged(response, gold).score for response in (good, bad)] == [1.0, 0.0]


def test_each_of_the_25_constraints_is_tested_above() -> None:
    assert {row[0] for row in FOLLOWED} == set(TULU)
    assert len(TULU) == 25


@pytest.mark.parametrize(("name", "arguments"), [(row[0], row[1]) for row in FOLLOWED])
@pytest.mark.parametrize("response", ["", " \n", "```\n```", "!!!", "\u200b", "[] * * * <<>> ****** ** **"])
def test_a_text_that_says_nothing_follows_no_constraint(name: str, arguments: dict[str, Any], response: str) -> None:
    assert judged(response, {"func_name": name, **arguments}).score == 0.0


ROW = (
    '{"func_name": "verify_keyword_frequency", "N": 2, "quantifier": null, "end_phrase": null, "keyword_list": null, '
    '"word": "cat", "forbidden_words": null, "letter": null, "i": null, "first_word": null, '
    '"postscript_marker": null, "options": null, "section_splitter": null, "original_prompt": null}'
)


@pytest.mark.parametrize("gold", [ROW, json.loads(ROW), [ROW], str(json.loads(ROW)), str([json.loads(ROW)])])
def test_a_row_of_the_data_is_read_as_json_dict_list_and_python_literal(gold: Any) -> None:
    assert [instruction.id for instruction in read_instructions(gold)] == ["verify_keyword_frequency"]
    assert [judged(text, gold).score for text in ("cat and cat", "cat")] == [1.0, 0.0]


def test_judging_leaves_the_gold_as_it_is_for_the_next_sample() -> None:
    gold = {"func_name": "validate_no_commas", "N": None}
    assert [judged("a", gold).score, judged("b, c", gold).score] == [1.0, 0.0]
    assert gold == {"func_name": "validate_no_commas", "N": None}


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ({"func_name": "verify_keyword"}, "did you mean verify_keywords?"),
        ({"func_name": "validate_paragraphs", "N": 2}, "takes N, first_word, i; found N"),
        ({"func_name": "validate_response_language", "N": None}, "takes language; found nothing"),
        ({"func_name": "validate_word_constraint", "N": 2, "quantifier": "about"}, "at least, around, at most"),
        ({"func_name": "verify_letter_frequency", "letter": "ab", "N": 2}, "not one character"),
        ({"func_name": "validate_no_commas", "surprise": 1}, "takes nothing; found surprise"),
        ({"func_name": None}, "the instruction None is not known"),
    ],
)
def test_a_gold_that_does_not_fit_is_a_fault_that_says_so(gold: dict[str, Any], said: str) -> None:
    verdict = judged("a b", gold)
    assert (verdict.fault, said in verdict.reason) == (Fault.GOLD, True), verdict.reason
