"""Texts as sequences of words, for comparisons that ignore case, punctuation and spacing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from rlpost.records import Example, Message

Turns = Literal["user", "all"]
"""The turns of a conversation that are compared."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*|[^\w\s]", re.UNICODE)


def words_of(text: str) -> list[str]:
    """Return the tokens of a text: words and numbers in lower case after NFKC, and signs of punctuation, one each.

    Signs count, because short tasks in mathematics consist of little else.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def turns_of(example: Example, *, turns: Turns) -> list[list[str]]:
    """Return the words of each compared turn; those of a raw document are one turn."""
    if example.text is not None:
        return [words_of(example.text)]
    messages: Sequence[Message] = example.messages if turns == "user" else (*example.messages, *example.completion)
    wanted = [message.text for message in messages if turns == "all" or message.role == "user"]
    # An instruction of the recipe may have replaced the source's own wording, which may be the one that is quoted.
    if example.source_wording:
        wanted.append(example.source_wording)
    return [words for text in wanted if (words := words_of(text))]
