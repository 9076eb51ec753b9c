"""Words as mathematical answers: `east`, `(C)`, `no solution`. Compared without case, articles and punctuation."""

from __future__ import annotations

import re

from rewards.latex_spellings import AND, OR

LONGEST = 100
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{\w+\*?\}")
_COMMAND = re.compile(
    r"\\(?!text(?![a-z]))[A-Za-z]+|a?(?:sin|cos|tan|sec|csc|cot)h?|arc\w{3}|sqrt|log|exp|\{\s*(?:two|three|four|five|six"
    r"|seven|eight|nine|ten|twelve|sixteen)\s*\}"
)
_WORD = re.compile(r"[A-Za-z]{4,}|^\s*[-+]?\s*\\text\s*\{|^[A-Z]?[a-z]{2,} [a-z]{2,}|^(?i:yes|no|odd|red|true)$")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"\\?(?:text\{)?\(?([A-Z])[).:}]")
_SAME = {
    "no solutions": "no solution",
    "no real solution": "no solution",
    "no real solutions": "no solution",
    "there is no solution": "no solution",
    "there are no solutions": "no solution",
    "empty set": "no solution",
    "null set": "no solution",
    "emptyset": "no solution",
    "dne": "does not exist",
    "undefined": "does not exist",
    "not defined": "does not exist",
    "not exist": "does not exist",
}


def is_words(text: str) -> bool:
    """Whether an answer in the spelling of `rewards.latex` consists of words and not of an expression."""
    if text == r"\emptyset":
        return True
    # Text after an expression is a unit, or a base.
    text = re.sub(r"(?<=[^\s+-])\s*\\text\s*\{[^{}]*\}", " ", text)
    return _WORD.search(_COMMAND.sub(" ", _ENVIRONMENT.sub(" ", text))) is not None


def is_word_gold(text: str) -> bool:
    """Whether a gold is short and plain enough to be compared as words."""
    return (
        len(text) <= LONGEST
        and any(map(str.isalpha, folded(text)))
        and not re.search("[#?]", text)
        and text.count("\n") < 2
    )


def same_words(answer: str, gold: str) -> bool:
    """Whether two answers are the same text; the letter of a choice may come with the choice's own text."""
    one, other = folded(answer), folded(gold)
    if one == other:
        return True
    if len(other) == 1 and other.isalpha():
        choice = _CHOICE.match(answer.strip())
        return choice is not None and choice[1].casefold() == other
    return False


def folded(text: str) -> str:
    """Remove wrappers, case, articles, quotes and punctuation."""
    text = _TEXT.sub(r" \1 ", text).replace(OR, " or ").replace(AND, " and ").replace("\\", " ")
    plain = re.sub(
        r"(?<=\w)\.(?=\w\.)|[.,;:!?\"'`(){}$*_\u2018\u2019\u201c\u201d]", lambda m: "" if m[0] in ".'`" else " ", text
    )
    words = plain.casefold().split()
    while len(words) > 1 and words[0] in ("the", "a", "an", "it", "is", "so", "thus", "therefore"):
        del words[0]
    joined = " ".join(words)
    return _SAME.get(joined, joined)
