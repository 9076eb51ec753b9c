"""IFEval's instructions about length, format, beginning and end (arXiv 2311.07911, table 1)."""

from __future__ import annotations

import json
import re
from typing import Any

from rewards.ifeval_kwargs import Relation, holds
from rewards.ifeval_text import folded, has_content, sentences, unfenced

# Each expression takes time linear in the text: a run of marks is tried only from its first character.
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*[^\[\]\s][^\[\]\n]*\]")
_HIGHLIGHT = re.compile(r"\*\*([^*\n]+)\*\*|\*([^*\n]+)\*")
_TITLE = re.compile(r"<<([^<>\n]+)>>")
_FIRST_WORD = re.compile(r"[^\s.,?!'\"\u2018\u2019\u201c\u201d]+")
_ANSWERS = ("my answer is yes.", "my answer is no.", "my answer is maybe.")


def has_sentences(text: str, *, num_sentences: int, relation: Relation = "at least") -> bool:
    """The number of sentences has the given relation to `num_sentences`."""
    return holds(len(sentences(text)), relation=relation, limit=num_sentences)


def has_words(text: str, *, num_words: int, relation: Relation = "at least") -> bool:
    """The number of words has the given relation to `num_words`."""
    return holds(len(re.findall(r"\w+", text)), relation=relation, limit=num_words)


def has_paragraphs(text: str, *, num_paragraphs: int) -> bool:
    """There are exactly that many paragraphs between dividers `***`, and none is empty."""
    paragraphs = [part.strip() for part in text.split("***")]
    if not paragraphs[0]:
        del paragraphs[0]
    if paragraphs and not paragraphs[-1]:
        del paragraphs[-1]
    return all(paragraphs) and len(paragraphs) == num_paragraphs


def has_first_word(text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """There are exactly that many paragraphs between blank lines, and the given one begins with the word."""
    paragraphs = blocks(text)
    if len(paragraphs) != num_paragraphs:
        return False
    word = _FIRST_WORD.match(paragraphs[nth_paragraph - 1].lstrip("'\"\u2018\u201c"))
    return word is not None and word[0].lower() == first_word.lower()


def blocks(text: str) -> list[str]:
    """The paragraphs between blank lines."""
    return [part.strip() for part in _BLANK_LINE.split(text) if part.strip()]


def has_placeholders(text: str, *, num_placeholders: int) -> bool:
    """There are at least that many `[placeholders]` with something in them."""
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


def has_postscript(text: str, *, postscript_marker: str) -> bool:
    """The marker occurs and something follows it; `P.S.` and `P.P.S` may have spaces in them."""
    marker = re.escape(postscript_marker)
    if postscript_marker in ("P.S.", "P.P.S", "P.P.S."):
        marker = r"\.\s?".join(postscript_marker.strip(".").split("."))
        marker += r"\." if postscript_marker.endswith(".") else ""
    found = re.search(rf"(?<!\w){marker}", text, re.IGNORECASE)
    return found is not None and has_content(text[found.end() :])


def has_bullets(text: str, *, num_bullets: int) -> bool:
    """Exactly that many lines begin with `*` or `-`, followed by text."""
    lines = [line.strip() for line in text.splitlines()]
    return num_bullets == sum(
        line[:1] in ("*", "-") and line[1:2] != "*" and bool(line.strip("*- \t")) for line in lines
    )


def is_constrained(text: str) -> bool:
    """The text has one of the three allowed answers, and no other of them."""
    folded = " ".join(text.lower().split())
    return sum(answer in folded for answer in _ANSWERS) == 1


def has_highlights(text: str, *, num_highlights: int) -> bool:
    """There are at least that many stretches in `*...*` or `**...**`."""
    return sum(bool((bold or italic).strip()) for bold, italic in _HIGHLIGHT.findall(text)) >= num_highlights


def has_sections(text: str, *, section_spliter: str, num_sections: int) -> bool:
    """There are at least that many headings with different numbers, each followed by text."""
    headings = list(re.finditer(rf"{re.escape(section_spliter)}\s?(\d{{1,9}})", text))
    stops = [heading.start() for heading in headings[1:]] + [len(text)]
    filled = {
        heading[1] for heading, stop in zip(headings, stops, strict=False) if has_content(text[heading.end() : stop])
    }
    return len(filled) >= num_sections


def is_json(text: str) -> bool:
    """The text is an object or a list in JSON, alone or in one fence."""
    try:
        value: Any = json.loads(unfenced(text), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def has_title(text: str) -> bool:
    """There is a `<<title>>` with something in it."""
    return any(title.strip() for title in _TITLE.findall(text))


def has_two_responses(text: str) -> bool:
    """The text is two different texts with `******` between them."""
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return len(filled) == 2 == len(set(filled)) and all(parts[1:-1])


def repeats_prompt(text: str, *, prompt_to_repeat: str) -> bool:
    """The text begins with the prompt."""
    return folded(text).startswith(folded(prompt_to_repeat))


def has_end(text: str, *, end_phrase: str) -> bool:
    """The text ends with the phrase, which may be in quotation marks."""
    return folded(text).strip('"').strip().endswith(folded(end_phrase).strip('"'))


def is_quoted(text: str) -> bool:
    """The whole text is in double quotation marks."""
    text = text.strip()
    return len(text) > 2 and text.startswith('"') and text.endswith('"')


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
