r"""Physical quantities: a number with a unit, compared after conversion by pint.

pint never gets the text itself. The number is read as in `rewards.number_reading`, and the unit must consist of names,
small whole powers and one level of division, so that no power or nesting can take long. A unit is part of the answer:
if the gold has one, `5` is not `5 m`. Prefixes are case-sensitive: mM is not MM. Offsets count: 25 degrees Celsius are
298.15 K. Units that only look alike are distinguished: Hz is not rad/s, Gy is not Sv. Pharmaceutical counts are units
too: IU, mEq, drops, tablets; so are currencies, which are never converted. An answer may say the same quantity again,
behind `=` or in parentheses. If the gold is a temperature, `C` and `F` are degrees.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rewards.number_reading import LONGEST_ANSWER, REFUSAL, prepared, read_number, sign_before
from rewards.unit_names import SCALES
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_UNIT = 80
_OFFSET_ROUNDING = 1e-9
"""Tolerance in degrees for a converted temperature: 32 degrees Fahrenheit are 0 degrees Celsius."""
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_QUANTITY = re.compile(
    r"(?:(?P<words>[^\d+\-\\]{0,200}?[\s=:(\u2248~])|\(?)"
    r"(?P<number>[+-]?(?:\\[dtc]?frac\{[^{}]{1,40}\}\{[^{}]{1,40}\}"
    r"|\d+\s+\d+\s?/\s?\d+(?![\d/])|\.?\d[\d.,]*(?:[eE][+-]?\d+|\s*(?:[\u00d7xX*·]|\\times|\\cdot)\s*10\s*\^\s*(?:\{\s*[+-]?\d+\s*\}|[+-]?\d+)"
    r"|\s*/\s*\d[\d.,]*)?))"
    r"(?P<unit>.*)",
    re.DOTALL,
)
_REFUSED_WORDS = re.compile(r"(?i)\b(?:not|or|either|than|least|most|never|except)\b|n't|[<>≤≥≠±]")
_WRAPPER = re.compile(r"\\(?:text|mathrm|textrm|mbox|operatorname|rm)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_POWER = re.compile(r"\s*(?:\^|\*\*)\s*(?:\{\s*\+?(-?\d{1,2})\s*\}|\+?(-?\d{1,2})(?!\d))")
_NAME = r"(?:[^\W\d_]+|%|\u00b0[CF]?)"
_TERM = rf"{_NAME}(?:\^?-?\d{{1,2}})?"
_UNIT = re.compile(
    rf"(?:1|{_TERM}(?:[ *]{_TERM}){{0,7}})(?:/(?:{_TERM}(?:\*{_TERM}){{0,3}}|\({_TERM}(?:[ *]{_TERM}){{0,7}}\))){{0,3}}"
)
_BARE_POWER = re.compile(r"(?<=[^\W\d_])(-?\d{1,2})")
_COMMANDS = {r"\cdot": "*", r"\times": "*", r"\mu": "µ", r"\Omega": "Ω", r"\circ": "°", r"\degree": "°", r"\%": "%"}
_NAMES = {"°C": "degC", "°F": "degF", "°": "degree", "Nm": "(N*m)"} | {
    **dict.fromkeys(("U", "unit", "units", "iu", "IUs"), "IU"),
    **dict.fromkeys(("gtts", "gtt"), "drop"),
    **dict.fromkeys(("tab", "tabs"), "tablet"),
    **dict.fromkeys(("cap", "caps"), "capsule"),
    **dict.fromkeys(("rev", "revs", "revolution", "revolutions"), "turn"),
    **dict.fromkeys(("meq", "mEqs"), "mEq"),
    **{
        "bpm": "(beat/minute)",
        "ug": "µg",
        "mcL": "µL",
        "ml": "mL",
        "dl": "dL",
        "sec": "s",
        "secs": "s",
        "hr": "h",
        "hrs": "h",
        "Kg": "kg",
        "KG": "kg",
        "Km": "km",
        "KM": "km",
    },
}
"""Spellings that pint lacks or misreads: it takes Nm for a thread count times a metre."""
_COUNTS = (
    "IU",
    "drop",
    "tablet",
    "capsule",
    "puff",
    "vial",
    "ampoule",
    "sachet",
    "suppository",
    "patch",
    "beat",
    "breath",
)
"""Counting units, each of which is its own dimension."""
_KINDS = {
    **dict.fromkeys(("radian", "degree", "turn", "arcminute", "arcsecond", "grade", "revolutions_per_minute"), "angle"),
    **{"hertz": "cycles", "becquerel": "decays", "curie": "decays", "gray": "dose", "rads": "dose"},
    **{"sievert": "equivalent dose", "rem": "equivalent dose", "lumen": "flux", "candela": "intensity"},
}
"""Units to which pint gives the same dimension, although they measure different things."""
_NOT_A_UNIT = (ArithmeticError, AssertionError, AttributeError, LookupError, SyntaxError, TypeError, ValueError)
"""Exceptions that pint raises for an unknown name, or for a unit that it cannot build."""
_WORD_POWERS = (
    (re.compile(r"(?i)\b(?:square|sq\.?)\s+([^\W\d_]+)"), r"\1^2"),
    (re.compile(r"(?i)\bcubic\s+([^\W\d_]+)"), r"\1^3"),
    (re.compile(r"(?i)\b([^\W\d_]+)\s+squared\b"), r"\1^2"),
    (re.compile(r"(?i)\b([^\W\d_]+)\s+cubed\b"), r"\1^3"),
    (re.compile(r"(?i)\s+(?:per|an?(?=\s+(?:second|minute|hour|day|week)\b))\s+"), "/"),
    (re.compile(r"(?i)\binternational\s+units?\b"), "IU"),
    (re.compile(r"^\s*(?:\[\s*([^\[\]()]+?)\s*\]|\(\s*([^\[\]()]+?)\s*\))\s*$"), r"\1\2"),
)
_TIME = re.compile(
    r"(?P<words>(?:.*?[a-z=:]\s+)?)(?P<hours>\d{1,4})\s*h(?:rs?|ours?)?\s*(?:,|and)?\s*(?P<minutes>\d{1,2})\s*m(?:ins?|inutes?)?",
    re.IGNORECASE,
)
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_CURRENCY_NAMES = {
    **{"dollar": "USD", "dollars": "USD", "usd": "USD", "euro": "EUR", "euros": "EUR", "eur": "EUR", "gbp": "GBP"},
    **{"yen": "JPY", "jpy": "JPY", "yuan": "CNY", "cny": "CNY", "rupee": "INR", "rupees": "INR", "inr": "INR"},
}
_CURRENCY_SIGN = re.compile(
    r"\\?([$€£¥₹])\s?([+-]?\d[\d.,]*)(?:\s+(thousand|million|billion|trillion)\b)?|(?<=\d)\s?([$€£¥₹])"
)
_AGAIN = re.compile(r"(?P<first>.*\S)\s*\((?P<again>(?:=|\u2248|or|i\.e\.,?|about)?\s*[+-]?[\d.].*)\)\W*", re.DOTALL)
_EQUALS = re.compile(r"(?<![<>!])(?:=|\u2248|\\approx\b)")
_SAME = 1e-3
"""Largest relative difference of a quantity that an answer states twice."""
_SPELLINGS = re.compile(r"(?i)\bdeg(?:rees?)?\s+(celsius|fahrenheit|c|f)\b")

CASES = (
    Case(response=r"\boxed{9.81\ \text{m/s}^2}", gold="9.81 m/s^2", expect="accept"),
    Case(response="The distance is 1.5 km.", gold="1500 m", expect="accept", note="converted"),
    Case(response="298.15 K", gold="25 °C", expect="accept", note="an offset"),
    Case(response="8.314 J mol^-1 K^-1", gold="8.314 J/(mol K)", expect="accept"),
    Case(response=r"$3.0 \times 10^{8}\,\mathrm{m\,s^{-1}}$", gold="3e8 m/s", expect="accept"),
    Case(response="5 mM", gold="5 mmol/L", expect="accept"),
    Case(response="5 m (500 cm)", gold="5 m", expect="accept", note="the same again"),
    Case(response="5 m = 500 cm", gold="5 m", expect="accept"),
    Case(response="5 m (600 cm)", gold="5 m", expect="adversarial", note="another quantity behind it"),
    Case(response="25 C", gold="25 °C", expect="accept"),
    Case(response="$5.20", gold="5.20 USD", expect="accept"),
    Case(response="5.20 euros", gold="$5.20", expect="reject", note="another currency"),
    Case(response="1.5 km", gold="1500 m", params={"convert": False}, expect="reject", note="another unit"),
    Case(response="1600 m", gold="1500 m", expect="reject"),
    Case(response="5 kg", gold="5 cm", expect="reject", note="another dimension"),
    Case(response="9.81", gold="9.81 m/s^2", expect="reject", note="no unit"),
    Case(response="5 MM", gold="5 mM", expect="reject", note="mega is not milli"),
    Case(response="25 K", gold="25 °C", expect="reject"),
    Case(response="5 m or 6 m", gold="5 m", expect="adversarial", note="hedged"),
    Case(response="5 m, 6 m", gold="5 m", expect="adversarial"),
    Case(response="1 m^9999999", gold="1 m", expect="adversarial", note="a power bomb"),
    Case(response="1e999999999 m", gold="1 m", expect="adversarial"),
    Case(response="5 m" + "/m*m" * 20_000, gold="5 m", expect="adversarial", note="a unit without end"),
    Case(response="5 __import__('os')", gold="5 m", expect="adversarial"),
    Case(response="not 5 m", gold="5 m", expect="adversarial"),
    Case(response="minus 5 m", gold="5 m", expect="adversarial"),
    Case(response="5 Hz", gold="5 rad/s", expect="adversarial", note="of one dimension, and another unit"),
    Case(response="2+3 m", gold="5 m", expect="adversarial"),
)


class Quantity(NamedTuple):
    """A quantity that was read, or the reason why there is none; `value` is pint's."""

    value: Any
    problem: str = ""
    tags: tuple[str, ...] = ()


@verifier(name="units.quantity", version="4", timeout_s=5.0, extra="rewards", modules=("pint",), cases=CASES)
def quantity(
    sample: Sample,
    *,
    where: Where = "auto",
    on_many: OnMany = "reject",
    relative_tolerance: Tolerance = 1e-3,
    absolute_tolerance: Tolerance = 0.0,
    convert: bool = True,
) -> Verdict:
    """1 when the answer is the gold's quantity, otherwise 0; both are compared in the unit of the gold.

    The comparison is |answer - gold| <= max(absolute_tolerance, relative_tolerance * |gold|).

    Args:
        sample: Its gold is text such as `9.81 m/s^2`, or a number without a unit.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        relative_tolerance: Largest relative difference, which allows for rounded conversions.
        absolute_tolerance: Largest absolute difference, in the unit of the gold.
        convert: Whether another unit of the same dimension is accepted.
    """
    gold = _gold_quantity(sample.gold)
    if gold is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a quantity")

    def judged(text: str) -> Verdict:
        answer = _read_once(_as_the_gold_writes(text, gold))
        if answer.value is None:
            return Verdict(score=0.0, parsed=text[:100], reason=answer.problem, tags=answer.tags)
        reason = _difference(
            answer.value,
            gold,
            relative_tolerance=relative_tolerance,
            absolute_tolerance=absolute_tolerance,
            convert=convert,
        )
        return Verdict(score=0.0 if reason else 1.0, parsed=text[:100], reason=reason or "near")

    found = final_answer(sample.response, where=where, on_many=on_many, accepts=lambda text: judged(text).score == 1.0)
    return judged(found.text) if found.text is not None else Verdict(score=0.0, reason=found.reason, tags=found.tags)


def _difference(
    answer: Any, gold: Any, *, relative_tolerance: float, absolute_tolerance: float, convert: bool
) -> str | None:
    """Say how a pint quantity differs from the gold; None if it does not."""
    if answer.units != gold.units and not convert:
        return f"the unit is not {gold.units}"
    if answer.dimensionality != gold.dimensionality:
        return f"the dimension is not {gold.dimensionality}"
    kinds, gold_kinds = _kinds(answer), _kinds(gold)
    if kinds and gold_kinds and kinds != gold_kinds:
        return f"{' and '.join(sorted(kinds))}, not {' and '.join(sorted(gold_kinds))}"
    value = _magnitude(answer, gold.units)
    if value is None:
        return f"cannot be converted to {gold.units}"
    allowed = max(absolute_tolerance, relative_tolerance * abs(gold.magnitude))
    if "[temperature]" in gold.dimensionality:
        allowed = max(allowed, _OFFSET_ROUNDING)
    return None if abs(value - gold.magnitude) <= allowed else f"it is {value:.6g} {gold.units}"


def _kinds(value: Any) -> set[str]:
    """Return the kinds of quantity that units measure, for units whose dimension in pint is ambiguous."""
    names = (_registry().parse_unit_name(name)[0][1] for name, _ in value.unit_items())
    return {_KINDS[name] for name in names if name in _KINDS}


@lru_cache(maxsize=1)
def _registry() -> Any:
    from pint import UnitRegistry

    registry: Any = UnitRegistry()
    for name in _COUNTS:
        registry.define(f"{name} = [{name}]")
    for name in sorted({*_CURRENCIES.values(), *_CURRENCY_NAMES.values()}):
        registry.define(f"{name} = [money_{name}]")
    registry.define("equivalent = [equivalent] = Eq")
    registry.define("osmole = [osmole] = Osm = osmol")
    return registry


@lru_cache(maxsize=4096)
def _gold_of_text(text: str) -> Any:
    plain = plain_characters(text)
    value = _read(plain).value
    if value is None or value.dimensionless:
        money = _read(_with_currency_names(plain)).value
        value = value if money is None else money
    return None if value is None or _magnitude(value, value.units) is None else value


def _gold_quantity(gold: object) -> Any:
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        return None
    return _gold_of_text(str(gold)) if len(str(gold)) <= LONGEST_ANSWER else None


def _as_the_gold_writes(text: str, gold: Any) -> str:
    """Return the answer with `C` and `F` as degrees if the gold is a temperature, and with names of currencies instead
    of signs if it is an amount of money; elsewhere `$` begins mathematics, and `C` is a charge.
    """
    if gold.dimensionality == {"[temperature]": 1}:
        return re.sub(
            r"(?i:(deg(?:rees?)?\.?\s+))?(?<=[\d\s])([CF])(?=\W*$)",
            lambda match: match[0] if match[1] else f"°{match[2]}",
            text,
        )
    if any(str(name).startswith("[money") for name in gold.dimensionality):
        return _with_currency_names(text)
    return text


def _with_currency_names(text: str) -> str:
    def named(match: re.Match[str]) -> str:
        if match[4]:
            return f" {_CURRENCIES[match[4]]}"
        return f"{match[2]} {f'{match[3]} ' if match[3] else ''}{_CURRENCIES[match[1]]}"

    return _CURRENCY_SIGN.sub(named, text)


def _read_once(text: str) -> Quantity:
    """Return the quantity of an answer, which may state it again in another unit: `5 m (500 cm)`, `5 m = 500 cm`."""
    again = _AGAIN.fullmatch(text) if len(text) <= LONGEST_ANSWER else None
    if again is not None:
        first, other = (
            _read(again["first"]),
            _read(re.sub(r"^\W*(?:or|i\.e\.,?|about)\s", "", again["again"]).lstrip("=\u2248 ")),
        )
        if first.value is not None and other.value is not None:
            return _stated_twice(first, other)
    parts = _EQUALS.split(text) if len(text) <= LONGEST_ANSWER else [text]
    if len(parts) == 1:
        return _read(text)
    last, before = _read(parts[-1]), _read(parts[-2])
    if last.value is None:
        return _read(text)
    return last if before.value is None or before.value.dimensionless else _stated_twice(last, before)


def _stated_twice(one: Quantity, other: Quantity) -> Quantity:
    value = _magnitude(other.value, one.value.units)
    if value is None or not math.isclose(value, one.value.magnitude, rel_tol=_SAME, abs_tol=_OFFSET_ROUNDING):
        return Quantity(None, "two different quantities", ("hedged",))
    return one


def _read(text: str) -> Quantity:
    """Return the quantity that an answer names; the answer must be in plain characters."""
    if len(text) > LONGEST_ANSWER:
        return Quantity(None, f"longer than {LONGEST_ANSWER} characters")
    text = prepared(text)
    time = _TIME.fullmatch(text)
    if time is not None:
        text = f"{time['words']}{60 * int(time['hours']) + int(time['minutes'])} min"
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return Quantity(None, "there is no number with a unit", ("no_answer",))
    if _REFUSED_WORDS.search(text) or REFUSAL.search(text):
        return Quantity(None, "alternatives, a bound or a denial", ("hedged",))
    sign = sign_before((found["words"] or "").rstrip(" =:("))
    if sign is None:
        return Quantity(None, "a computation in words, not a number")
    number = read_number(found["number"]).number
    if number is None or not _is_ordinary(number.value):
        return Quantity(None, f"{found['number']:.30} cannot be read as a number")
    unit, scale = _unit_text(found["unit"])
    if unit is None:
        return Quantity(None, f"{found['unit'].strip():.30} cannot be read as a unit")
    registry = _registry()
    try:
        return Quantity(registry.Quantity(float(sign * number.value * scale), registry.parse_units(unit)))
    except _NOT_A_UNIT as error:
        return Quantity(None, f"{unit:.30} is not a unit: {type(error).__name__}")


def _is_ordinary(value: Any) -> bool:
    return value == 0 or 1e-100 < abs(value) < 1e100


def _unit_text(written: str) -> tuple[str | None, int]:
    """Return a unit in the grammar of this module, and the factor of a scale word; None if it is not in the grammar."""
    if len(written) > 4 * LONGEST_UNIT:
        return None, 1
    text = _WRAPPER.sub(r"\1", _POWER.sub(r"^\1\2", written))
    text = _FRACTION.sub(r"\1/(\2)", text)
    for command, plain in _COMMANDS.items():
        text = text.replace(command, plain)
    text = re.sub(r"\^\s*\{?\s*°\s*\}?", "°", text.replace("$", " ").replace("·", "*").replace("⋅", "*"))
    for spelling, power in _WORD_POWERS:
        text = spelling.sub(power, text)
    text = _SPELLINGS.sub(lambda match: "°" + match[1][0].upper(), text)
    text = re.sub(r"\s*([*/()])\s*", r"\1", " ".join(_POWER.sub(r"^\1\2", text).split())).strip(" .")
    text = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", "*", text)
    text = f"1{text}" if text.startswith("/") else text
    if text.endswith(")") and "(" not in text:
        text = text[:-1]
    first, _, rest = text.partition(" ")
    scale = SCALES.get(first.casefold(), 1)
    text = (rest if scale > 1 else text).replace("° C", "°C").replace("° F", "°F")
    if not text:
        return "", scale
    if len(text) > LONGEST_UNIT or _UNIT.fullmatch(text) is None:
        return None, scale
    named = re.sub(_NAME, lambda match: _NAMES.get(match[0], _CURRENCY_NAMES.get(match[0].casefold(), match[0])), text)
    return _BARE_POWER.sub(r"^\1", named), scale


def _magnitude(value: Any, unit: Any) -> float | None:
    """Return the number of a quantity in another unit; None if pint has no conversion."""
    try:
        number = float(value.to(unit).magnitude)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
