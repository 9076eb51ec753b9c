"""The 25 constraints of TÜLU 3's RLVR data (arXiv 2411.15124), which refer to functions of open-instruct.

Source: `open_instruct/if_functions.py` as of May 2026, whose verdicts were the reward of TÜLU 3. A row holds
`func_name` and its arguments, with null for all others. The data uses 24 of the 25, since `validate_response_language`
needs a `language` that no row has. Numbers and comparisons follow that code, even where the prompt of a constraint
reads differently:

- a word count or a letter count without a quantifier is exact, and the case of a letter counts;
- `around` allows a tenth of the number, at least 1; for sentences, it allows 1;
- words are separated by white space; a sentence ends at `.`, `?` or `!` before white space, except in `e.g.` or `Mr.`
  (before April 2026 not at `!`, before May 2026 `around` was exact for words in capitals);
- a forbidden word also counts inside a longer word; the first word of a paragraph and the last phrase are
  case-sensitive; the first word may be the beginning of a longer one;
- text before the first section marker counts as a section.

As in IFEval here, empty elements are not rewarded: a bullet, a placeholder, a highlight, a title, a section or a
paragraph must contain text. Bold text is one highlight (the code counts two), a line in bold is not a bullet, JSON is
an object or a list and may be in one fence. Exactly one of the options of `validate_choice` must be chosen, as a whole
word; the code accepts any option that occurs anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rewards import ifeval_content as content
from rewards import ifeval_layout as layout
from rewards.ifeval_kwargs import (
    Kind,
    Quantifier,
    a_count,
    a_letter,
    a_quantifier,
    a_text,
    an_index,
    options,
    texts,
)
from rewards.ifeval_text import has_content

_SENTENCE_BREAK = re.compile(r"(?<=[.?!])(?<!\w\.\w[.?!])(?<![A-Z][a-z]\.)\s")


def has_word_exactly(text: str, *, word: str, n: int) -> bool:
    """The word occurs exactly that often as a whole word, in either case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)) == n


def lacks_substrings(text: str, *, forbidden_words: list[str]) -> bool:
    """The text has none of the words, not even inside a longer word."""
    lowered = text.lower()
    return not any(word.lower() in lowered for word in forbidden_words)


def has_letter_exactly(text: str, *, letter: str, n: int) -> bool:
    """The letter occurs exactly that often, in the given case."""
    return text.count(letter) == n


def has_starred_paragraphs(text: str, *, n: int) -> bool:
    """There are exactly that many paragraphs between dividers `* * *`, each with something in it."""
    paragraphs = text.split("* * *")
    return len(paragraphs) == n and all(has_content(paragraph) for paragraph in paragraphs)


def has_word_count(text: str, *, n: int, quantifier: Quantifier) -> bool:
    """There are at least, at most or around that many words."""
    return _holds(len(text.split()), quantifier=quantifier, n=n, tolerance=_a_tenth(n))


def has_sentence_count(text: str, *, n: int, quantifier: Quantifier) -> bool:
    """There are at least, at most or around that many sentences."""
    count = sum(has_content(part) for part in _SENTENCE_BREAK.split(text))
    return _holds(count, quantifier=quantifier, n=n, tolerance=1)


def has_paragraph_beginning(text: str, *, n: int, first_word: str, i: int) -> bool:
    """There are exactly that many paragraphs between blank lines, and the i-th begins with the word."""
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n")]
    return len(paragraphs) == n and all(paragraphs) and paragraphs[i - 1].startswith(first_word)


def has_exact_postscript(text: str, *, postscript_marker: str) -> bool:
    """The marker occurs as it is written, and something follows it."""
    before, _, after = text.partition(postscript_marker)
    return len(before) < len(text) and has_content(after)


def chooses_option(text: str, *, options: list[str]) -> bool:
    """Exactly one of the options occurs, as a whole word.

    If none occurs in its own case, case is ignored, except for options of one letter: `a` is also an article.
    """
    chosen = _occurring(text, options)
    if not chosen:
        chosen = _occurring(text.lower(), [option.lower() for option in options if len(option) > 1])
    return len(chosen) == 1


def _occurring(text: str, options: list[str]) -> set[str]:
    """Return the options that occur; an option inside a longer one does not count."""
    alternatives = "|".join(re.escape(option) for option in sorted(options, key=len, reverse=True))
    return set(re.findall(rf"(?<!\w)(?:{alternatives})(?!\w)", text)) - {""}


def has_sections_exactly(text: str, *, n: int, section_splitter: str) -> bool:
    """There are exactly that many stretches between the markers, each with something in it."""
    sections = text.split(section_splitter)
    if not sections[0].strip():
        del sections[0]
    return len(sections) == n and all(has_content(section) for section in sections)


def has_two_responses_once(text: str) -> bool:
    """The text is two different texts with `******` between them, and nowhere else."""
    return text.count("******") == 1 and layout.has_two_responses(text)


def is_all_uppercase(text: str) -> bool:
    """No letter is lower-case, in any language."""
    return text.isupper()


def is_all_lowercase(text: str) -> bool:
    """No letter is a capital, in any language."""
    return text.islower()


def has_capital_words(text: str, *, n: int, quantifier: Quantifier) -> bool:
    """At least, at most or around that many words consist of the capitals A to Z alone; `I` and `A` count."""
    count = len(re.findall(r"\b[A-Z]+\b", text))
    return _holds(count, quantifier=quantifier, n=n, tolerance=_a_tenth(n))


def has_exact_end(text: str, *, end_phrase: str) -> bool:
    """The text ends with the phrase as it is written."""
    return text.rstrip().endswith(end_phrase)


def _holds(count: int, *, quantifier: Quantifier, n: int, tolerance: int) -> bool:
    if quantifier == "around":
        return abs(count - n) <= tolerance
    return count >= n if quantifier == "at least" else count <= n


def _is_among_paragraphs(given: Mapping[str, Any]) -> bool:
    return given["i"] <= given["n"]


def _a_tenth(n: int) -> int:
    return max(round(n * 0.1), 1)


TULU: Mapping[str, Kind] = {
    "verify_keywords": Kind(content.has_keywords, {"keyword_list": texts}, names={"keyword_list": "keywords"}),
    "verify_keyword_frequency": Kind(has_word_exactly, {"word": a_text, "N": a_count}),
    "validate_forbidden_words": Kind(lacks_substrings, {"forbidden_words": texts}),
    "verify_letter_frequency": Kind(has_letter_exactly, {"letter": a_letter, "N": a_count}),
    "validate_response_language": Kind(content.is_language, {"language": content.a_language}),
    "verify_paragraph_count": Kind(has_starred_paragraphs, {"N": an_index}),
    "validate_word_constraint": Kind(has_word_count, {"N": a_count, "quantifier": a_quantifier}),
    "verify_sentence_constraint": Kind(has_sentence_count, {"N": a_count, "quantifier": a_quantifier}),
    "validate_paragraphs": Kind(
        has_paragraph_beginning,
        {"N": an_index, "first_word": a_text, "i": an_index},
        fits=_is_among_paragraphs,
    ),
    "verify_postscript": Kind(has_exact_postscript, {"postscript_marker": a_text}),
    "validate_placeholders": Kind(layout.has_placeholders, {"N": a_count}, names={"N": "num_placeholders"}),
    "verify_bullet_points": Kind(layout.has_bullets, {"N": a_count}, names={"N": "num_bullets"}),
    "validate_title": Kind(layout.has_title, {}),
    "validate_choice": Kind(chooses_option, {"options": options}),
    "validate_highlighted_sections": Kind(layout.has_highlights, {"N": a_count}, names={"N": "num_highlights"}),
    "validate_sections": Kind(has_sections_exactly, {"N": an_index, "section_splitter": a_text}),
    "validate_json_format": Kind(layout.is_json, {}),
    "validate_repeat_prompt": Kind(
        layout.repeats_prompt, {"original_prompt": a_text}, names={"original_prompt": "prompt_to_repeat"}
    ),
    "validate_two_responses": Kind(has_two_responses_once, {}),
    "validate_uppercase": Kind(is_all_uppercase, {}),
    "validate_lowercase": Kind(is_all_lowercase, {}),
    "validate_frequency_capital_words": Kind(has_capital_words, {"N": a_count, "quantifier": a_quantifier}),
    "validate_end": Kind(has_exact_end, {"end_phrase": a_text}),
    "validate_quotation": Kind(layout.is_quoted, {}),
    "validate_no_commas": Kind(content.lacks_commas, {}),
}
