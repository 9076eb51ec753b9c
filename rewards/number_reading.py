r"""Reads the single number that an answer names, in a sentence or alone. `LONGEST_ANSWER` bounds its time.

`rewards.plain_numbers` defines what counts as a number. This module finds the number among words, and rejects texts
that are not an answer: relations (`5=7`, `x > 5`), expressions (`2+2`, `10^3`, `5x`, `5!`), ranges, negations,
alternatives, identifiers (`CO2`, `0x1F`), and ambiguous digits (`1,5`). A scale word multiplies: `5 million` is
5000000.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from rewards.extraction import OnMany, final_answer, plain_characters
from rewards.number_sums import result_of_sum
from rewards.plain_numbers import PlainNumber, read_plain_number
from rewards.unit_names import SCALES, unit_name

LONGEST_ANSWER = 1000
LONGEST_NUMBER = 400
_SIMPLE = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_CANDIDATE = re.compile(
    r"(?<![\w.^])(?<![^\W\d_]-)(?<!\^[-{])(?<!\^\{-)[+-]?(?:"
    r"\d+\s+\d+\s?/\s?\d+(?![\d/])"
    r"|\d*\s*\\[dtc]?frac\s*(?:\{[^{}]{1,40}\}|\d)\s*(?:\{[^{}]{1,40}\}|\d)"
    r"|\.?\d[\d.,]*(?:[eE][+-]?\d+"
    r"|\s*(?:[\u00d7xX*·]|\\times|\\cdot)\s*10\s*\^\s*(?:\{\s*[+-]?\d+\s*\}|[+-]?\d+)"
    r"|\s*/\s*\d[\d.,]*)?"
    r")"
)
_POWER_OF_TEN = re.compile(r"\s*(?:[\u00d7xX*·]|\\times|\\cdot)\s*10\s*\^\s*\{?\s*([+-]?\d+)\s*\}?$")
_RELATION = re.compile(r"[<>≤≥≠±]|\\(?:leq?|geq?|neq?|lt|gt|pm|in|leqslant|geqslant)(?![A-Za-z])|\^[^=]*=|=[^=]*=")
_ALTERNATIVE = re.compile(r"(?i)\b(?:or|either)\b")
REFUSAL = re.compile(
    r"(?i)\bI(?:\s+(?:will\s+not|won't|can\s?not|can't|could\s?n[o']t|did\s?n[o']t|do\s?n[o']t|am\s+not|am\s+unable|refuse)"
    r"|\s*'m\s+(?:not|unable))\b|\b(?:graders?|full marks|ignore (?:all|any|the|previous) (?:rules|instructions))\b"
)
"""Words that refuse to answer, or that address the judge; a number beside them is not an answer."""
_HARMLESS = r"(?:approx|boxed|q?quad|text|mathrm|mathbf|textbf|displaystyle|left)"
_OPERATOR_BEFORE = re.compile(
    r"(?:[√∛^*/+\u00d7÷·!-]|-\s*\(|\\(?!" + _HARMLESS + r"\b)[A-Za-z]+\s*[{(\[]?"
    r"|(?i:\b(?:sqrt|log|ln|exp|sin|cos|tan|abs)\s*\(?))$"
)
_DENIAL_BEFORE = re.compile(
    r"(?i)(?:\bnot|n't|\bnever|\bexcept|\bneither|\bnor)(?:\s+(?:be|equal|to|equal\s+to))?$"
    r"|\b(?:more|less|fewer|greater|smaller)\s+than$|\bat\s+(?:least|most)$|\b(?:above|below|under|over|up\s+to)$"
)
_NEGATIVE_BEFORE = re.compile(r"(?i)(?P<other>\S*)(?:\s*[(,:])?\s*\b(?:minus|negative)$")
_COMPUTED_BEFORE = re.compile(
    r"(?i)\b(?:half|twice|thrice|double|doubled|triple|quarter|third|two-thirds|plus|times|divided by|multiplied by"
    r"|squared?|cubed?|root|reciprocal|inverse|opposite|factorial|logarithm|log|sum|difference|product|percent|per cent"
    r"|negation|absolute value|dozen)(?:\s+(?:of|from))?(?:\s+(?:the\s+)?number)?$"
)
_QUESTION = re.compile(  # or a task
    r"(?i)^\W*(?:what(?:'s|\s+(?:is|are|would|will|was|number|value))\b|which\b"
    r"|how\s+(?:many|much|long|far|old|fast|big)\b|(?:find|compute|calculate|evaluate|determine|solve|simplify|express"
    r"|convert|estimate|work out|when|why|who)\b(?!\s*:))"
    r"|\?\s*[\"')*]*$"
)
_OPERATOR_AFTER = re.compile(
    r"\s*(?:\^(?!\s*\{?\s*\\circ)|_\s*\{?\(?\d|[*/\u00d7÷·√=!+]|[-:]\s*[\d(\\]"
    r"|\\(?!(?:text|mathrm|textrm|mbox|degree|circ|q?quad)\b)[A-Za-z])"
    r"|(?i:[\s-]*(?:squared|cubed|factorial|plus|minus|times\s+[\d(\\]|doubled|tripled|halved|divided|multiplied"
    r"|halves|thirds|quarters|fifths|tenths|hundredths|to the (?:power|\w+ power)|raised|percent of|per cent of"
    r"|and (?:a|one|three|two)[\s-](?:half|quarters?|thirds?))\b)|\s*%\s+of\b"
)
_WORD_AFTER = re.compile(
    r"(?P<space>\s*)(?:\\(?:text|mathrm|textrm|mbox)\s*\{\s*)?"
    r"(?P<word>(?:(?:square|cubic|sq)\s+)?[^\W\d_]+(?:\s?/\s?[^\W\d_]+|\s+per\s+[^\W\d_]+)?)"
    r"\s?\}?(?:\^\{?(?P<power>[23])\}?)?"
)
_BELOW_ZERO = re.compile(r"(?i)\s*(?:°\s*[CF]?|degrees?)?(?:\s+(?:celsius|fahrenheit))?\s+(?:below|under)\s+zero\b")
_SMALL_POWER = re.compile(r"10\s*\^\s*(?:\{\s*-\s*(?P<braced>\d{1,3})\s*\}|-(?P<bare>\d{1,3}))")
_DENIED_BEHIND = re.compile(r"(?i)(?<=\d),?\s+(?:and\s+)?not\s+[+-]?\d[\d.,]*$")
_SYMBOL_AFTER = re.compile(r"\s*(?:\\?(?P<percent>%)|(?P<currency>[€£¥])|(?P<degree>°|\^\{?\\circ))")
_GOLD_START = re.compile(r"[\s$€£¥(\[{+\\.-]*(?:[dtc]?frac|\d)")
_UNIT_LETTERS = frozenset("mgslLKNJWVACFhd")
"""Letters that may follow a number as a unit; any other letter makes it a term, such as 5x or 5i."""
_MATH = re.compile(r"(?<![\\$])\$\s*([^$\n]{1,200}?)\s*\$(?![\d$])")
_SPACING = re.compile(r"\\[,;: ]|~")
_DASHES = str.maketrans({"\u2010": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-"})
_DELIMITERS = (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The number that was found, or the reason why there is none."""

    number: PlainNumber | None = None
    reason: str = ""
    tags: tuple[str, ...] = ()
    after: str = ""
    """The text after the number, as written, for callers that read units."""


def read_number(text: str, *, on_many: OnMany = "reject", decimal_comma: bool = False) -> Reading:
    r"""Read the single number in `text`, which must be in plain characters.

    Args:
        text: An answer, such as `12\text{ cm}` or `It is 3.5 million.`
        on_many: Whether several different numbers are rejected or the last one counts.
        decimal_comma: Whether to read `1.234,5` instead of `1,234.5`.
    """
    if _SIMPLE.fullmatch(text) and not decimal_comma:
        # Most answers are this short, and the general path takes ten times as long.
        return Reading(number=PlainNumber(value=Fraction(text), unit="", has_bar=False))
    if len(text) > LONGEST_ANSWER:
        return Reading(reason=f"longer than {LONGEST_ANSWER} characters")
    text = prepared(text, decimal_comma=decimal_comma)
    plain = read_plain_number(text) if len(text) <= LONGEST_NUMBER else None
    if plain is not None:
        return Reading(number=plain)
    if _QUESTION.search(text):
        return Reading(reason="a question", tags=("no_answer",))
    small = _SMALL_POWER.fullmatch(text)
    if small is not None:
        exponent = int(small["braced"] or small["bare"])
        return Reading(number=PlainNumber(value=Fraction(1, 10**exponent), unit="", has_bar=False))
    text = result_of_sum(text) or _DENIED_BEHIND.sub("", text)
    if _RELATION.search(text):
        return Reading(reason="a relation, not a number")
    if REFUSAL.search(text):
        return Reading(reason="a refusal to answer", tags=("no_answer",))
    if _ALTERNATIVE.search(text) and on_many == "reject":
        return Reading(reason="alternatives", tags=("hedged",))
    found = [_reading(candidate, text) for candidate in _CANDIDATE.finditer(text)]
    if not found:
        return Reading(reason="there is no number", tags=("no_answer",))
    if on_many == "last":
        return found[-1]
    unread = next((one for one in found if one.number is None), None)
    if unread is not None:
        return unread
    different = {one.number.value for one in found if one.number is not None}
    if len(different) > 1:
        return Reading(reason=f"{len(different)} different numbers", tags=("hedged",))
    return found[-1]


@lru_cache(maxsize=4096)
def read_gold(gold: str, *, decimal_comma: bool = False) -> PlainNumber | None:
    """Read the number that makes up the whole of a reference, apart from a unit or scale word; None if there is
    none.
    """
    text = plain_characters(gold)
    if r"\boxed" in text:
        text = final_answer(text, where="last_boxed", on_many="reject").text or ""
    if _GOLD_START.match(text) is None:
        return None
    return read_number(text, decimal_comma=decimal_comma).number


def gold_number(gold: object, *, decimal_comma: bool = False) -> PlainNumber | None:
    """Read a gold of any type as `read_gold` does; None if it is not a number or a text with one number."""
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        return None
    if isinstance(gold, str):
        return read_gold(gold, decimal_comma=decimal_comma) if len(gold) <= LONGEST_ANSWER else None
    if isinstance(gold, int):
        return PlainNumber(value=Fraction(gold), unit="", has_bar=False)
    return read_gold(repr(gold))


def unit_difference(answer: str, gold: str) -> str | None:
    """Say how the answer's unit differs from the gold's; None if it does not, or if one of them names none."""
    if not answer or not gold or answer == gold:
        return None
    return f"the unit is {answer:.20}, not {gold:.20}"


def sign_before(words: str) -> int | None:
    """Return -1 if `minus` or `negative` precedes a number, else 1; None if a computation such as `half of` precedes
    it.
    """
    if _COMPUTED_BEFORE.search(words):
        return None
    negative = _NEGATIVE_BEFORE.search(words)
    if negative is None:
        return 1
    return None if any(map(str.isdigit, negative["other"])) else -1


def prepared(text: str, *, decimal_comma: bool = False) -> str:
    """Remove delimiters, emphasis and spacing commands, and make all dashes equal."""
    text = _MATH.sub(r"\1", text).strip().translate(_DASHES).replace("**", "").replace("{,}", ",").replace(r"\!", "")
    text = _SPACING.sub(" ", text).strip()
    text = text if text.endswith("...") else text.removesuffix(".").strip()
    for opening, closing in _DELIMITERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            text = text[len(opening) : -len(closing)].strip()
    return text.translate({ord(","): ".", ord("."): ","}) if decimal_comma else text


def _reading(candidate: re.Match[str], text: str) -> Reading:
    token = candidate[0].rstrip(".,")
    before = text[max(0, candidate.start() - 40) : candidate.start()].rstrip()
    after = text[candidate.start() + len(token) :]
    if _OPERATOR_BEFORE.search(before) or _OPERATOR_AFTER.match(after):
        return Reading(reason="an expression, not a number")
    if _DENIAL_BEFORE.search(before):
        return Reading(reason="a bound or a denial, not a number")
    sign = sign_before(before)
    if sign is None:
        return Reading(reason="a computation in words, not a number")
    if _BELOW_ZERO.match(after):
        sign = -sign
    word = _WORD_AFTER.match(after)
    if word is not None and _is_a_term(word, after):
        return Reading(reason=f"{(token + after).strip():.30} is a term or an identifier")
    power = _POWER_OF_TEN.search(token)
    if power is not None:
        token = f"{token[: power.start()]}e{power[1]}"
    number = read_plain_number(token) if len(token) <= LONGEST_NUMBER else None
    if number is None:
        return Reading(reason=f"{token:.30} cannot be read as a number")
    scale = SCALES.get(word["word"].casefold().partition(" ")[0]) if word is not None else None
    if scale is not None:
        return Reading(number=replace(number, value=sign * number.value * scale), after=after)
    return Reading(number=replace(number, value=sign * number.value, unit=_unit(before, after, word)), after=after)


def _is_a_term(word: re.Match[str], after: str) -> bool:
    letters = word["word"]
    if len(letters) == 1 and letters not in _UNIT_LETTERS:
        return not (word["space"] and letters == "a")
    return not word["space"] and after[word.end() : word.end() + 1].isalnum()


def _unit(before: str, after: str, word: re.Match[str] | None) -> str:
    if before[-1:] in ("$", "€", "£", "¥") and not after.startswith("$"):
        return unit_name(before[-1]) or ""
    symbol = _SYMBOL_AFTER.match(after)
    if symbol is not None:
        return unit_name(symbol["percent"] or symbol["currency"] or "degree") or ""
    if word is None:
        return ""
    return unit_name(word["word"] + (f"^{word['power']}" if word["power"] else "")) or ""
