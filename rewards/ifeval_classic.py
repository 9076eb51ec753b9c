"""The table of IFEval's 25 instructions (Zhou et al., arXiv 2311.07911, table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewards import ifeval_content as content
from rewards import ifeval_layout as layout
from rewards.ifeval_kwargs import Kind, a_character, a_count, a_relation, a_text, an_index, texts


def _is_among_paragraphs(given: Mapping[str, Any]) -> bool:
    return given["nth_paragraph"] <= given["num_paragraphs"]


CLASSIC: Mapping[str, Kind] = {
    "keywords:existence": Kind(content.has_keywords, {"keywords": texts}),
    "keywords:frequency": Kind(
        content.has_keyword_often,
        {"keyword": a_text, "frequency": a_count, "relation": a_relation},
        ("relation",),
    ),
    "keywords:forbidden_words": Kind(content.lacks_words, {"forbidden_words": texts}),
    "keywords:letter_frequency": Kind(
        content.has_letter_often,
        {"letter": a_character, "let_frequency": a_count, "let_relation": a_relation},
        ("let_relation",),
    ),
    "language:response_language": Kind(content.is_language, {"language": content.a_language}),
    "length_constraints:number_sentences": Kind(
        layout.has_sentences, {"num_sentences": a_count, "relation": a_relation}, ("relation",)
    ),
    "length_constraints:number_paragraphs": Kind(layout.has_paragraphs, {"num_paragraphs": an_index}),
    "length_constraints:number_words": Kind(
        layout.has_words, {"num_words": a_count, "relation": a_relation}, ("relation",)
    ),
    "length_constraints:nth_paragraph_first_word": Kind(
        layout.has_first_word,
        {"num_paragraphs": an_index, "nth_paragraph": an_index, "first_word": a_text},
        fits=_is_among_paragraphs,
    ),
    "detectable_content:number_placeholders": Kind(layout.has_placeholders, {"num_placeholders": a_count}),
    "detectable_content:postscript": Kind(layout.has_postscript, {"postscript_marker": a_text}),
    "detectable_format:number_bullet_lists": Kind(layout.has_bullets, {"num_bullets": a_count}),
    "detectable_format:constrained_response": Kind(layout.is_constrained, {}),
    "detectable_format:number_highlighted_sections": Kind(layout.has_highlights, {"num_highlights": a_count}),
    "detectable_format:multiple_sections": Kind(
        layout.has_sections, {"section_spliter": a_text, "num_sections": a_count}
    ),
    "detectable_format:json_format": Kind(layout.is_json, {}),
    "detectable_format:title": Kind(layout.has_title, {}),
    "combination:two_responses": Kind(layout.has_two_responses, {}),
    "combination:repeat_prompt": Kind(layout.repeats_prompt, {"prompt_to_repeat": a_text}),
    "startend:end_checker": Kind(layout.has_end, {"end_phrase": a_text}),
    "startend:quotation": Kind(layout.is_quoted, {}),
    "change_case:capital_word_frequency": Kind(
        content.has_capital_words_often,
        {"capital_frequency": a_count, "capital_relation": a_relation},
        ("capital_relation",),
    ),
    "change_case:english_capital": Kind(content.is_english_capitals, {}),
    "change_case:english_lowercase": Kind(content.is_english_lowercase, {}),
    "punctuation:no_comma": Kind(content.lacks_commas, {}),
}
