"""Splits a text into words and sentences, for the instructions of IFEval and related data sets.

Sentences are found by a rule of this project, whereas the public code uses NLTK's tokenizer or a chain of replacements;
a punctuation mark is never a word. On unusual punctuation, counts may differ from theirs.
"""

from __future__ import annotations

import re

# Each expression takes time linear in the text: a run of marks is tried only from its first character.
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"')\]}\u201d\u2019\u00bb*_]*+(?=\s|$)|[\u3002\u0964]")
_WORD = re.compile(r"\w+(?:[-'\u2019]\w+)*")
_MARK = re.compile(r"[^\w\s]|_")
_TITLES = frozenset(
    ["mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "e.g", "i.e", "fig", "vol", "gen", "col", "lt", "sen"]
)


def has_content(text: str) -> bool:
    """Whether the text has a letter or digit."""
    return re.search(r"[^\W_]", text) is not None


def words(text: str) -> list[str]:
    """Return the words, including their inner hyphens and apostrophes; a punctuation mark is not a word."""
    return _WORD.findall(text)


def bare_words(text: str) -> list[str]:
    """Split at white space and drop all punctuation and symbols: `well-known` becomes `wellknown`."""
    return _MARK.sub("", text).split()


def sentences(text: str) -> list[str]:
    """Return the sentences: stretches with a letter or digit up to a closing mark, and the rest after the last mark.

    A full stop after a title (`Dr.`), a single letter (`J. Smith`) or the number of a list item ends no sentence.
    """
    found: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if end[0] == "." and _is_abbreviated(text, end.start()):
            continue
        if has_content(text[start : end.start()]):
            found.append(text[start : end.end()].strip())
        start = end.end()
    return [*found, text[start:].strip()] if has_content(text[start:]) else found


def unfenced(text: str) -> str:
    """Return the content of a code fence that encloses the whole text; any other text stays as it is."""
    text = text.strip()
    if not (text.startswith("```") and text.endswith("```") and len(text) > 6) or "```" in text[3:-3]:
        return text
    first_line, _, rest = text[3:-3].partition("\n")
    return rest if re.fullmatch(r"\s*\w*\s*", first_line) else text[3:-3]


def folded(text: str) -> str:
    """Convert the text to lower case, and each run of white space to one space."""
    return " ".join(text.lower().split())


def _is_abbreviated(text: str, index: int) -> bool:
    """Whether the full stop at the index belongs to the word before it."""
    word = text[max(0, index - 20) : index].split()[-1:]
    if not word or not text[index + 1 :][:1]:
        return False
    bare = word[0].lstrip("([\"'\u201c\u2018*_").lower()
    initial = len(bare) == 1 and bare.isalpha() and bare != "i" and word[0][-1].isupper()
    return bare in _TITLES or initial or (word[0].isdigit() and _is_first_of_line(text, word[0], index=index))


def _is_first_of_line(text: str, word: str, *, index: int) -> bool:
    return text[text.rfind("\n", 0, index) + 1 : index].strip(" \t*-") == word
