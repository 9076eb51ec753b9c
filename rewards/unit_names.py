"""Words that may follow a number: names of units, which may be omitted, and scale words, which multiply."""

from __future__ import annotations

import re

SCALES = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "mn": 10**6,
    "billion": 10**9,
    "bn": 10**9,
    "trillion": 10**12,
}
MOST_WORDS = 5
_ONE_NAME = {
    "USD": "$ dollar dollars usd bucks",
    "EUR": "€ euro euros eur",
    "GBP": "£ gbp",
    "JPY": "¥ yen jpy",
    "cent": "cents ¢",
    "%": "percent pct",
    "degree": "degrees deg °",
    "min": "minute minutes mins",
    "h": "hour hours hr hrs",
    "s": "second seconds sec secs",
    "d": "day days",
    "week": "weeks wk",
    "month": "months",
    "year": "years yr yrs",
    "mm": "millimeter millimeters millimetre millimetres",
    "cm": "centimeter centimeters centimetre centimetres",
    "m": "meter meters metre metres",
    "km": "kilometer kilometers kilometre kilometres",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard yards yds",
    "mi": "mile miles",
    "g": "gram grams",
    "mg": "milligram milligrams",
    "kg": "kilogram kilograms kgs",
    "lb": "pound pounds lbs",
    "oz": "ounce ounces",
    "L": "liter liters litre litres l",
    "mL": "milliliter milliliters millilitre millilitres ml",
    "rad": "radian radians",
    "N": "newton newtons",
    "J": "joule joules",
    "W": "watt watts",
    "am": "AM",
    "pm": "PM",
    "INR": "Rs rupee rupees inr",
    "mi/h": "mph",
    "km/h": "kph kmh",
}
_NAMES = {spelling: name for name, spellings in _ONE_NAME.items() for spelling in spellings.split()}
_POWERS = {"square": "2", "squared": "2", "sq": "2", "cubic": "3", "cubed": "3", "cu": "3"}
_NO_UNIT = re.compile(
    r"(?i)(?:"
    r"or|and|not|but|if|when|than|then|minus|plus|times|half|at|to|is|are|"
    r"either|neither|nor|except|over|under|above|below|more|less|least|most|"
    r"between|from|with|without|maybe|perhaps|i|we|it|because|since|squared|cubed"
    r"|percentages|doubled|negative|positive|twice|instead|rather|possibly|approximately"
    r"|about|unknown|none|for|where|while|halves|thirds|fifths|tenths|hundredths|factorial"
    r")"
)
_WORD = re.compile(r"[^\W\d_]+|[$€£¥¢%°]")
_MEASURED = re.compile(r"(?i)(?:\s+(?:old|long|tall|wide|high|deep|away|ago|(?:in )?total|each|left))+$")
_UNIT = re.compile(
    r"(?:[^\W\d_]+|[$€£¥¢%°])\.?(?:\s?\^\s?\{?-?[1-4]\}?)?"
    r"(?:(?:\s?[/*·]\s?|\s)(?:[^\W\d_]+|[$€£¥¢%°])\.?(?:\s?\^\s?\{?-?[1-4]\}?)?){0,5}"
)


def unit_name(words: str) -> str | None:
    """Return one name for all spellings of a unit: `mi/h` for "miles per hour"; None if the words are not a unit.

    A unit that only counts ("units", "square units") has an empty name.
    """
    text = _MEASURED.sub("", words.strip().strip("."))
    if not text:
        return ""
    text = re.sub(r"\b([A-Za-z])\.\s?(?=[A-Za-z]\b)", r"\1", text)
    if _UNIT.fullmatch(text) is None:
        return None
    found = _WORD.findall(text)
    if len(found) > MOST_WORDS or any(map(_NO_UNIT.fullmatch, found)):
        return None
    text = re.sub(r"\s+per\s+", "/", text)
    text = re.sub(r"(?i)\b(square|sq|cubic|cu)\.?\s+([^\W\d_]+)", lambda m: f"{m[2]}^{_POWERS[m[1].casefold()]}", text)
    text = re.sub(r"[\s{}.]|(?<=\w)\*(?=\w)", "", re.sub(r"(?<=\w)\s+(?=\w)", "_", text))
    name = _WORD.sub(lambda match: _one_name(match[0]), text) if "_" not in text else text.casefold()
    return "" if re.fullmatch(r"units?(?:\^[23])?", name) else name


def is_known_unit(word: str) -> bool:
    """Whether a word, written without anything that marks it as text, can only be a unit."""
    return word in _NAMES or word in _ONE_NAME


def _one_name(word: str) -> str:
    if word in _NAMES:
        return _NAMES[word]
    folded = word.casefold()
    if len(word) > 2 and folded in _NAMES:
        return _NAMES[folded]
    if len(word) > 3:
        return folded.removesuffix("s")
    return word
