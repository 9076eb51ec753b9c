"""How the instructions of IFEval and its relatives read a text: its words, sentences, and stretches with content.

Sentences are found by a rule of our own where the public code uses NLTK's tokenizer or a chain of replacements, and a
punctuation mark is never a word: on odd punctuation counts may differ from theirs.
"""

from __future__ import annotations

import re

# Each expression takes time in proportion to the text: a run of marks is tried from its first character only.
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
    """The words, each with the hyphens and apostrophes inside it; a punctuation mark is no word."""
    return _WORD.findall(text)


def bare_words(text: str) -> list[str]:
    """What white space separates, without any punctuation or symbol: `well-known` is `wellknown`."""
    return _MARK.sub("", text).split()


def sentences(text: str) -> list[str]:
    """Stretches with a letter or digit up to the marks that end a sentence, and the rest behind the last one.

    A full stop behind a title (`Dr.`), a single letter (`J. Smith`) or the number of a list item ends nothing.
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
    """The inside of the one code fence that all of the text stands in, or else the text."""
    text = text.strip()
    if not (text.startswith("```") and text.endswith("```") and len(text) > 6) or "```" in text[3:-3]:
        return text
    first_line, _, rest = text[3:-3].partition("\n")
    return rest if re.fullmatch(r"\s*\w*\s*", first_line) else text[3:-3]


def folded(text: str) -> str:
    """The text in lower case, with each run of white space as one space."""
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
