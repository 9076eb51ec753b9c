r"""Numbers as people write a final answer: an integer, a decimal or a fraction, possibly with a unit. Exact, no
algebra.

An expression outside this grammar (`2+2`, `10^3`, `\sqrt{4}`) is a computation that was left to the reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.unit_names import SCALES, unit_name

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_SIGN = r"[+-]?\s*"
_TOP = rf"(?:\{{\s*(?P<top>{_SIGN}{_DIGITS})\s*\}}|(?P<top_digit>\d))"
_BOTTOM = rf"(?:\{{\s*(?P<bottom>{_SIGN}{_DIGITS})\s*\}}|(?P<bottom_digit>\d))"
_POWER = r"(?:\{\s*(?P<power>[+-]?\d{1,3})\s*\}|(?P<power_signed>-\d{1,3})|(?P<power_digit>\d))"
_REPEATED = r"(?P<start>\d*\.\d*)(?:\\(?:overline|bar)\s*\{(?P<block>\d+)\}|(?P<dots>\.\.\.))"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})(?:"
    rf"(?P<mixed>\d+)?\s*\\frac\s*{_TOP}\s*{_BOTTOM}"
    rf"|(?:(?P<whole>\d+)\s+)?(?P<over>{_DIGITS})\s*/\s*(?P<under>-?{_DIGITS})"
    rf"|{_REPEATED}"
    rf"|(?P<decimal>{_DECIMAL})(?:[eE](?P<exponent>[+-]?\d{{1,3}})|\s*(?:\\times|\\cdot|[\u00d7*xX\u00b7])\s*10\s*\^\s*{_POWER})?"
    r")"
)
_CURRENCY = re.compile(
    r"^(?P<before>[+-]?)\s*(?P<unit>\\\$|\\pounds|[$\u20ac\u00a3\u00a5\u20b9]|\\text\{(?:Rs\.?|USD|EUR|INR)\})\s*"
)
_WRAPPER = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{([^{}]*)\}")
_PLAIN_WORD = re.compile(
    r"\s[^\W\d_]{2}|\s?[$€£¥°%¢]|\s*\\[%$]|\s*\\(?:text|mathrm|textrm|mbox)\s*\{|\s*\^\s*\{?\s*\\circ|\s*\\degree"
)
_SMALL_POWER = re.compile(r"^(?P<sign>[+-]?)10\s*\^(?=\s*\{?\s*-)")
"""The start of a power such as `10^{-1}`, which is how a small decimal is written; `10^3` stays a computation."""
_MOST_REPEATED = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainNumber:
    r"""A number that was read. Example: `12\text{ cm}` is `PlainNumber(value=Fraction(12), unit="cm", ...)`."""

    value: Fraction
    unit: str
    """One name for all spellings of a unit, as in `rewards.unit_names`; `%` for percent, which does not divide by
    100."""
    has_bar: bool
    """Whether it was written with a fraction bar."""


def read_plain_number(text: str) -> PlainNumber | None:
    """Read the number that makes up the whole of `text`; None if it is not a number."""
    text = _SMALL_POWER.sub(r"\g<sign>1 \\cdot 10^", text.strip())
    before_unit = ""
    currency = _CURRENCY.match(text)
    if currency is not None:
        before_unit = _currency(currency["unit"])
        text = currency["before"] + text[currency.end() :]
    number = _NUMBER.match(text)
    if number is None:
        return None
    unit, scale = _unit(text[number.end() :])
    value = _value(number)
    if value is None or unit is None:
        return None
    has_bar = number["decimal"] is None and number["start"] is None
    return PlainNumber(value=value * scale, unit=before_unit or unit, has_bar=has_bar)


def _currency(written: str) -> str:
    sign = _WRAPPER.sub(r"\1", written).lstrip("\\").replace("pounds", "\u00a3")
    return unit_name(sign) or "INR"


def _unit(rest: str) -> tuple[str | None, int]:
    """Return the unit after a number, and the factor of a scale word; None if any other text follows."""
    if not rest.strip():
        return "", 1
    if len(rest) > 200 or _PLAIN_WORD.match(rest) is None:
        return None, 1
    words = _WRAPPER.sub(r" \1 ", rest)
    words = re.sub(r"\\degree|\^\s*\{?\s*\\circ\s*\}?", " ° ", words).replace(r"\%", " % ").replace(r"\$", " $ ")
    words = words.replace(r"\ue001", " ").strip().lstrip("-")
    first, _, others = words.partition(" ")
    scale = SCALES.get(first.casefold(), 1)
    return unit_name(" ".join((others if scale > 1 else words).split())), scale


def _value(number: re.Match[str]) -> Fraction | None:
    sign = -1 if "-" in number["sign"] else 1
    if number["start"] is not None:
        value = _repeating(number["start"], number["block"])
        return None if value is None else sign * value
    if number["decimal"] is not None:
        power = int(number["exponent"] or number["power"] or number["power_signed"] or number["power_digit"] or 0)
        return sign * Fraction(_joined(number["decimal"])) * Fraction(10) ** power
    top = int(_joined(number["top"] or number["top_digit"] or number["over"]))
    bottom = int(_joined(number["bottom"] or number["bottom_digit"] or number["under"]))
    if bottom == 0:
        return None
    return sign * (int(number["mixed"] or number["whole"] or 0) + Fraction(top, bottom))


def _repeating(digits: str, block: str | None) -> Fraction | None:
    r"""Read `0.1\overline{6}`, or `0.1666...` with repeating digits at the end; None if no digits repeat."""
    whole, _, decimals = digits.partition(".")
    if len(decimals) > _MOST_REPEATED or len(block or "") > _MOST_REPEATED:
        return None
    if block is None:
        found = re.search(r"(?P<block>\d+?)(?P=block)+$", decimals)
        if found is None:
            return None
        decimals, block = decimals[: found.start()], found["block"]
    assert block is not None
    start = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    return start + Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(decimals))


def _joined(digits: str) -> str:
    return re.sub(r"[,\s]", "", digits)
