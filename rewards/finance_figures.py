"""Reads one figure as analysts write it: sign, currency, number, scale, rate. Exact, and linear in a bounded text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.extraction import plain_characters

LONGEST_FIGURE = 80
"""Longest figure in characters; a longer text is a sentence or a flood of digits."""
_THOUSAND, _MILLION, _BILLION, _TRILLION = (10**power for power in (3, 6, 9, 12))
_SCALES = {
    **dict.fromkeys(("k", "thousand", "thousands"), _THOUSAND),
    **dict.fromkeys(("m", "mm", "mn", "mln", "million", "millions"), _MILLION),
    **dict.fromkeys(("b", "bn", "bln", "billion", "billions"), _BILLION),
    **dict.fromkeys(("t", "tn", "trn", "trillion", "trillions"), _TRILLION),
    **dict.fromkeys(("lakh", "lakhs"), 10**5),
    **dict.fromkeys(("crore", "crores"), 10**7),
}
_COMMA_SCALES = {
    **dict.fromkeys(("tsd", "tausend", "mille"), _THOUSAND),
    **dict.fromkeys(("mio", "millionen"), _MILLION),
    **dict.fromkeys(("mrd", "milliarde", "milliarden", "md", "mds", "milliard", "milliards"), _BILLION),
    **dict.fromkeys(("billionen",), _TRILLION),
}
"""Scale words of languages that write 1.234,5; after one of these, `1.234` is 1234."""
_CURRENCIES = {
    **dict.fromkeys(("$", "us$", "dollar", "dollars", "usd$"), "USD"),
    **dict.fromkeys(("\u20ac", "euro", "euros"), "EUR"),
    **dict.fromkeys(("\u00a3", "pound", "pounds", "sterling"), "GBP"),
    **dict.fromkeys(("\u00a5", "yen"), "JPY"),
    **dict.fromkeys(("rmb", "cn\u00a5", "yuan", "renminbi"), "CNY"),
    **dict.fromkeys(("\u20b9", "rupee", "rupees"), "INR"),
    **{"a$": "AUD", "au$": "AUD", "c$": "CAD", "ca$": "CAD", "hk$": "HKD", "s$": "SGD", "nz$": "NZD", "r$": "BRL"},
    **{"\u20a9": "KRW", "\u20bd": "RUB", "\u20ba": "TRY", "\u20aa": "ILS", "fr": "CHF", "franken": "CHF"},
}
_RATES = {
    **dict.fromkeys(("%", "percent", "per cent", "pct", "prozent"), ("percent", Fraction(1))),
    **dict.fromkeys(("bp", "bps", "basis point", "basis points"), ("basis points", Fraction(1, 100))),
    **dict.fromkeys(("pp", "ppt", "percentage point", "percentage points"), ("points", Fraction(1))),
    **dict.fromkeys(("x", "times"), ("times", Fraction(1))),
}
_DIMENSIONS = {"percent": "percent", "basis points": "percent", "points": "points", "times": "times"}
_NUMBER = re.compile(r"(?:\d[\d.,' ]*|\.\d+)")
_ISO = re.compile(r"[A-Z]{3}")
_POINT = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ ']\d{3})+|\d+)?(?:\.(?P<decimals>\d*))?")
_COMMA = re.compile(r"(?:\d{1,3}(?:\.\d{3})+|\d{1,3}(?:[ ']\d{3})+|\d+)(?:,(?P<decimals>\d+))?")
_ESCAPES = re.compile(r"\\(?=[$%&])|\\[,;:! ]|\\(?:text|mathrm|textrm|mbox)(?![A-Za-z])|[{}]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure that was read. Example: `(24.3bn) USD` has `written` -24.3e9, `unit` USD, `half_unit_written` 0.05e9."""

    written: Fraction
    """The value with sign and scale; a rate keeps its number, 250 for 250 bps."""
    half_unit_written: Fraction
    """Half a unit of the last written digit."""
    unit: str
    """A currency code, or percent, basis points, points, times; empty if no unit is named."""

    @property
    def dimension(self) -> str:
        """Figures with the same dimension can be compared: percent with basis points, a currency with itself."""
        return _DIMENSIONS.get(self.unit, self.unit)

    @property
    def value(self) -> Fraction:
        """The value in the unit of its dimension: 2.5 (percent) for 250 bps."""
        return self.written * self._factor

    @property
    def half_unit(self) -> Fraction:
        """`half_unit_written`, converted to the unit of the dimension."""
        return self.half_unit_written * self._factor

    @property
    def _factor(self) -> Fraction:
        return Fraction(1, 100) if self.unit == "basis points" else Fraction(1)

    def __str__(self) -> str:
        number = str(self.written) if self.written.denominator == 1 else f"{float(self.written):.12g}"
        return f"{number} {self.unit}".rstrip()


def read_figure(text: str) -> Figure | None:
    """Read the figure that makes up the whole of `text`; None if it is not a figure."""
    # Checked first, because converting a million digits to a number takes quadratic time.
    if len(text) > 4 * LONGEST_FIGURE:
        return None
    text = _ESCAPES.sub(" ", plain_characters(text).replace(r"\(", " ").replace(r"\)", " "))
    # Typographic hyphens and apostrophes become plain ones.
    text = re.sub("[\u2010-\u2015]", "-", text).replace("\u2019", "'")
    text = " ".join(text.split()).removesuffix(".").strip()
    number = _NUMBER.search(text)
    if number is None or len(text) > LONGEST_FIGURE:
        return None
    digits = number[0].rstrip(" ,'.") if number[0][-1] != "." else number[0].rstrip(" .")
    before, after = text[: number.start()], text[number.start() + len(digits) :]
    sign = _sign(before, after)
    if sign is None:
        return None
    words = _words(before, after)
    if words is None:
        return None
    scale, unit, comma_language = words
    read = _number(digits, comma_first=comma_language)
    if read is None:
        return None
    value, last_place = read
    return Figure(written=sign * value * scale, half_unit_written=last_place * scale / 2, unit=unit)


def _sign(before: str, after: str) -> int | None:
    """Return -1 for one minus sign or one pair of parentheses; None if signs contradict each other or repeat."""
    opened, closed = before.count("("), after.count(")")
    minus, plus = before.count("-"), before.count("+")
    if opened != closed or opened + minus + plus > 1 or ")" in before or any(sign in after for sign in "-+("):
        return None
    return -1 if opened or minus else 1


def _words(before: str, after: str) -> tuple[int, str, bool] | None:
    """Return scale, unit, and whether the scale word belongs to a language with a decimal comma; None for any other
    word.

    Scale and unit may be named only once, except that a currency may appear as sign and as code if these agree.
    """
    scale, units, comma_language = None, set[str](), False
    rest = re.sub("[()+-]", " ", after)
    leading = re.sub("[()+-]", " ", before).split()
    for phrase in sorted((phrase for phrase in _RATES if " " in phrase), key=len, reverse=True):
        if phrase in rest.lower():
            units.add(_RATES[phrase][0])
            rest = re.sub(re.escape(phrase), " ", rest, count=1, flags=re.IGNORECASE)
            break
    for word in [*leading, *_split_words(rest)]:
        bare = word.removesuffix(".")
        lower = bare.lower()
        if lower in _SCALES or lower in _COMMA_SCALES:
            if scale is not None or word in leading:
                return None
            scale, comma_language = _SCALES.get(lower) or _COMMA_SCALES[lower], lower in _COMMA_SCALES
        elif lower in _RATES and word not in leading:
            units.add(_RATES[lower][0])
        elif lower in _CURRENCIES:
            units.add(_CURRENCIES[lower])
        elif _ISO.fullmatch(bare):
            units.add(bare)
        else:
            return None
    if len(units) > 1:
        return None
    return scale or 1, next(iter(units), ""), comma_language


def _split_words(text: str) -> list[str]:
    """Split into words, with currency and percent signs as words of their own: `bn$` becomes `bn`, `$`."""
    return re.findall("[A-Za-z]{0,3}\\$|[%\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd\u20ba\u20aa]|[^\\W\\d_]+\\.?|\\S", text)


def _number(digits: str, *, comma_first: bool) -> tuple[Fraction, Fraction] | None:
    """Return the value and the place value of its last digit. A form that both conventions allow gets a decimal point.

    `1,234` is 1234 and `1.234` is 1.234, unless the scale is a word of a language with a decimal comma.
    """
    readings = ((_COMMA, ".", ","), (_POINT, ",", ".")) if comma_first else ((_POINT, ",", "."), (_COMMA, ".", ","))
    for pattern, group, mark in readings:
        match = pattern.fullmatch(digits)
        if match is not None and any(character.isdigit() for character in digits):
            plain = re.sub(f"[ '{re.escape(group)}]", "", digits).replace(mark, ".")
            places = len(match["decimals"] or "")
            return Fraction(plain.removesuffix(".")), Fraction(1, 10**places)
    return None
