"""Limits on the form of an answer, checked before an algebra system sees it.

They reject forms that are known to take forever (towers of powers, huge factorials, deep nesting); the deadline of the
worker process catches the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_ANSWER = 300
DEEPEST_NESTING = 30
MOST_DIGITS = 1000
LARGEST_FACTORIAL = 1000
LONGEST_EXPONENT = 4
"""Largest number of digits of a numeric exponent."""
HIGHEST_TOWER = 2

_COMMAND = re.compile(r"\\[A-Za-z]+")
_EXPONENT = re.compile(r"\^\s*")
_TOKEN = re.compile(r"[+-]?\s*(?:\\[A-Za-z]+|\w+|.)", re.DOTALL)
_FACTORIAL = re.compile(r"(?P<before>\d+|\S)\s*!(?!=)")
_SMALL_POWER = re.compile(
    r"\{?\s*(?:10\s*\^\s*\{?\s*[1-3]|[2-9]\s*\^\s*\{?\s*[1-4]|2\s*\^\s*\{?\s*1?[0-3])\s*\}?\s*\}?"
)
"""A power of at most four digits, which may stand as an exponent."""
_PAIRS = {"{": "}", "(": ")"}


def pathology(answer: str, *, gold: str) -> str | None:
    """Say why this answer must not be given to an algebra system; None if it may be."""
    longest = max(LONGEST_ANSWER, 2 * len(gold))
    if len(answer) > longest:
        return f"longer than {longest} characters"
    if _nesting(answer) > DEEPEST_NESTING:
        return f"nested deeper than {DEEPEST_NESTING}"
    if sum(character.isdigit() for character in answer) > MOST_DIGITS:
        return f"more than {MOST_DIGITS} digits"
    return _power_pathology(answer) or _factorial_pathology(answer)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest


def _power_pathology(answer: str) -> str | None:
    for exponent in _exponents(answer):
        if "^" in exponent and not _has_variable(exponent) and _SMALL_POWER.fullmatch(exponent) is None:
            return "a power as a numeric exponent"
        if re.search(rf"\d{{{LONGEST_EXPONENT + 1}}}", exponent):
            return f"an exponent of more than {LONGEST_EXPONENT} digits"
    if _tower(answer) > HIGHEST_TOWER:
        return f"powers of powers higher than {HIGHEST_TOWER}"
    return None


def _factorial_pathology(answer: str) -> str | None:
    for factorial in _FACTORIAL.finditer(answer):
        before = factorial["before"]
        if before.isdecimal():
            too_large = int(before) > LARGEST_FACTORIAL
        else:
            too_large = not before.isalpha() and not _has_variable(answer)
        if too_large:
            return f"a factorial of something that may exceed {LARGEST_FACTORIAL}"
    return None


def _tower(text: str) -> int:
    return max((1 + _tower(exponent) for exponent in _exponents(text)), default=0)


def _exponents(text: str) -> Iterator[str]:
    """Yield the exponent after each `^`; without braces, `a^b^c` counts as a^(b^c)."""
    for caret in _EXPONENT.finditer(text):
        start = caret.end()
        if text[start : start + 1] in _PAIRS:
            stop = _group_end(text, start)
        else:
            token = _TOKEN.match(text, start)
            stop = token.end() if token is not None else start
        chained = text[stop:].lstrip().startswith("^")
        yield text[start:] if chained else text[start:stop]


def _group_end(text: str, start: int) -> int:
    opening, closing = text[start], _PAIRS[text[start]]
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == opening) - (text[index] == closing)
        if depth == 0:
            return index + 1
    return len(text)


def _has_variable(text: str) -> bool:
    return any(character.isalpha() for character in _COMMAND.sub("", text))
