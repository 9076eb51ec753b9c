"""Texts as sequences of words, for comparisons that ignore case, spacing and Unicode form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Literal

from rlpost.data.folded_text import folded
from rlpost.records import Example

Turns = Literal["user", "all"]
"""The turns of a conversation that are compared: the user's, or also the answers. System messages never are: rows share
them without sharing a task.
"""

_WITHOUT_SPACES = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, kana and Chinese characters."""
_LAST_WITH_MARKS = 0x1FFFF
"""Combining marks above are selectors of variants, which do not change a word."""
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*|[^\w\s]")
"""Finds in ASCII what `_word` finds, four times as fast."""
_QUOTATION_MARKS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


def words_of(text: str) -> list[str]:
    """Return the tokens of a text: words and numbers without case after NFKC, and signs of punctuation, one each.

    Signs count, because short tasks in mathematics consist of little else; typographic quotation marks equal straight
    ones. In scripts that set no spaces between words, every letter is a token.
    """
    plain = folded(text)
    return _ASCII_WORD.findall(plain) if plain.isascii() else _word().findall(plain.translate(_QUOTATION_MARKS))


@cache
def _word() -> re.Pattern[str]:
    """Return the pattern of a token. Marks, which `re` counts as no part of a word, belong to the letter before."""
    marks = "".join(chr(code) for code in range(_LAST_WITH_MARKS) if unicodedata.category(chr(code)).startswith("M"))
    letter = rf"[^\W_{_WITHOUT_SPACES}]"
    word = rf"{letter}+(?:[{marks}]+{letter}*)*"
    return re.compile(rf"[{_WITHOUT_SPACES}][{marks}]*|{word}(?:'{word})*|[^\w\s]")


def row_turns(example: Example, *, turns: Turns) -> list[list[str]]:
    """Return the words of each compared turn of a training row; those of a raw document are one turn.

    Where the recipe's instruction replaced the source's own wording, both count: either may quote an instance.
    """
    texts = [*_texts(example, turns=turns), example.source_wording]
    return [words for text in texts if (words := words_of(text))]


def instance_turns(example: Example, *, turns: Turns) -> list[list[str]]:
    """Return the words of each compared turn, in the source's wording; those of a raw document are one turn.

    The recipe's instruction is no part of an evaluation instance. It would hide quotations, because it adds words that
    nobody quotes, and every training row with the same instruction would seem to quote the instance.
    """
    return [words for text in _texts(_as_in_source(example), turns=turns) if (words := words_of(text))]


def _as_in_source(example: Example) -> Example:
    if not example.source_wording:
        return example
    messages = list(example.messages)
    last = max(place for place, message in enumerate(messages) if message.role == "user")
    messages[last] = replace(messages[last], content=example.source_wording)
    return replace(example, messages=tuple(messages))


def _texts(example: Example, *, turns: Turns) -> Iterator[str]:
    if example.text is not None:
        yield example.text
        return
    for message in (*example.messages, *example.completion, *example.rejected):
        if message.role == "user" or (turns == "all" and message.role != "system"):
            yield message.text
