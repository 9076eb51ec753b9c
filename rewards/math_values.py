r"""Compares two values: numbers exactly, numerals of a base digit by digit, expressions at several points.

Expressions are parsed by math-verify's LaTeX grammar, never by Python's `eval`. They are evaluated with 50 digits at
fixed values of their variables, so that neither six equal digits nor a large power decides. If that gives no result
(equations, functions without a name, sums), math-verify compares them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from rewards.latex_spellings import DEGREE
from rewards.plain_numbers import PlainNumber, read_plain_number
from rewards.unit_names import is_known_unit, unit_name

_DIGITS = 50
_NEARNESS = 1e-20
"""The largest relative difference of two equal expressions, computed with that many digits."""
_PLACES = ((7, 11), (23, 17), (5, 29), (31, 13))
"""Points for the evaluation: at each of them, the i-th variable is (numerator + 3 i) / denominator."""
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_MOST_VARIABLES = 6
_UNEVALUATED = re.compile(r"\\(?:sum|prod|i*int|oint|lim|[dt]?binom|choose)(?![A-Za-z])")
_TRAILING_UNIT = re.compile(
    r"\s*(?P<unit>\\text\s*\{[^{}]*\}(?:\s*\^\s*\{?[23]\}?)?(?:\s*/\s*\\text\s*\{[^{}]*\})?|(?<=[\d}\s)])\u00b0|\\%)\s*$"
)
_TRAILING_WORD = re.compile(r"(?<=[\w})])\s+([a-z]{2,})(\^\{?[23]\}?)?$")
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10} | {
    "eleven": 11, "twelve": 12, "sixteen": 16,
}  # fmt: skip
_NUMERAL = re.compile(
    r"\(?(?P<digits>(?=[A-Fa-f]*\d)[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)\)?\s*(?:"
    r"_\s*(?:\{\s*)?\(?\s*(?:\\text\s*\{\s*)?(?:base\s*\}?\s*)?(?P<base>\d{1,2}|[a-z]+)\s*\}?\)?\s*\}?"
    r"|\\text\s*\{\s*\(?\s*(?:in )?base\s*-?\s*(?P<word>\d{1,2}|[a-z]+)?\s*\)?\s*\}\s*(?P<behind>\d{1,2})?)"
)


class Numeral(NamedTuple):
    """Digits and their base."""

    digits: str
    base: int


def value_difference(answer: str, gold: str, *, evaluated: bool) -> str | None:
    """Say how a value differs from the gold's; None if it does not.

    Args:
        answer: A value in the spelling of `rewards.latex`.
        gold: A value in the same spelling.
        evaluated: Whether a gold that is a plain number must be met by a plain number, and not by a computation.
    """
    if answer == gold:
        return None
    numeral = _numeral_difference(answer, gold)
    if numeral is not None:
        return numeral or None
    number = read_plain_number(gold)
    if number is not None:
        answered = read_plain_number(answer)
        if answered is not None:
            return number_difference(answered, number, evaluated=evaluated)
        if evaluated:
            return "the gold is a plain number, the answer is not"
    if set(_UNEVALUATED.findall(answer)) - set(_UNEVALUATED.findall(gold)):
        return "not evaluated"
    return expression_difference(answer, gold)


def number_difference(answer: PlainNumber, gold: PlainNumber, *, evaluated: bool) -> str | None:
    """Say how a plain number differs from the gold; None if it does not."""
    if evaluated and answer.has_bar and not gold.has_bar and gold.value.denominator == 1:
        return "a division that was not carried out"
    if answer.unit and gold.unit and answer.unit != gold.unit:
        return f"the unit is {answer.unit}, not {gold.unit}"
    return None if answer.value == gold.value else "another number"


def readable(text: str) -> bool:
    """Whether a value of a gold can be compared."""
    if read_plain_number(text) is not None or read_numeral(text) is not None:
        return True
    expression, _ = split_unit(text)
    return bool(expression) and bool(_parsed(expression))


def read_numeral(text: str) -> Numeral | None:
    r"""Read `1101_2` or `(1101)_{\text{two}}`, digits with a named base; None if no base is named."""
    found = _NUMERAL.fullmatch(text.strip())
    if found is None:
        return None
    written = found["base"] or found["behind"] or found["word"] or ""
    base = int(written) if written.isdecimal() else _BASES.get(written, 0)
    return Numeral(found["digits"].upper().lstrip("0") or "0", base) if 2 <= base <= 36 else None


def split_unit(text: str) -> tuple[str, str]:
    """Split a text into a value and the unit after it."""
    word = _TRAILING_WORD.search(text)
    if word is not None and is_known_unit(word[1]):
        return text[: word.start()].strip(), unit_name(word[1] + (word[2] or "")) or ""
    unit = _TRAILING_UNIT.search(text)
    if unit is None or unit.start() == 0:
        return text, ""
    words = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", unit["unit"]).replace("\\", "").strip()
    name = unit_name(words)
    return (text, "") if name is None else (text[: unit.start()].strip(), name)


def number_of(text: str) -> float | None:
    """Return a value as a decimal number; None if it is not a number."""
    plain = read_plain_number(text)
    if plain is not None:
        return float(plain.value)
    from sympy import Expr

    parsed = _parsed(split_unit(text)[0])
    is_number = bool(parsed) and isinstance(parsed[0], Expr) and {str(one) for one in parsed[0].free_symbols} <= {"i"}
    number = _number_at(parsed[0], {}) if is_number else None
    return None if number is None or number[1] else float(number[0])


def _numeral_difference(answer: str, gold: str) -> str | None:
    """Say how a numeral differs from the gold's; empty if it does not; None if neither side names a base."""
    one, other = read_numeral(answer), read_numeral(gold)
    if other is not None:
        if one is not None:
            return "" if one == other else "another numeral"
        plain = answer.replace(",", "").replace(" ", "")
        return "" if plain.isalnum() and plain.lstrip("0") == other.digits else "another numeral"
    if one is not None:
        # A gold without a base is a decimal number.
        number = read_plain_number(gold)
        return "" if one.base == 10 and number is not None and number.value == int(one.digits or 0) else "another base"
    return None


def expression_difference(answer: str, gold: str) -> str | None:
    """Why an expression has another value than the gold, whatever is left to compute; None when it has the same."""
    answer, answer_unit = split_unit(answer)
    gold, gold_unit = split_unit(gold)
    if answer_unit and gold_unit and answer_unit != gold_unit:
        return f"the unit is {answer_unit}, not {gold_unit}"
    if answer == gold:
        return None
    if r"\text" in answer and r"\text" not in gold:
        return "words behind the expression"
    if len(answer) > 1 and _of_another_case(answer, gold):
        return "variables of another case"
    answer, gold = _apart(answer), _apart(gold)
    answer_parsed, gold_parsed = _parsed(answer), _parsed(gold)
    if not answer_parsed:
        return "cannot be read"
    if not gold_parsed:
        return "another value"
    equal = _equal_at_places(answer_parsed[0], gold_parsed[0])
    if equal is None:
        from math_verify import verify

        # No timeout of its own, which would need signals of the main thread; the worker's deadline always applies.
        equal = bool(verify(gold_parsed, answer_parsed, timeout_seconds=None))
    return None if equal else "another value"


def _equal_at_places(answer: Any, gold: Any) -> bool | None:
    """Whether two expressions agree at fixed values of their variables; None if they cannot be evaluated."""
    from sympy import Derivative, Expr, Integral, Limit, Product, Rational, Sum

    if not (isinstance(answer, Expr) and isinstance(gold, Expr)) or gold.is_Matrix or answer.is_Matrix:
        return None
    if answer == gold:
        return True
    if answer.has(Sum, Integral, Limit, Product, Derivative) or gold.has(Sum, Integral, Limit, Product, Derivative):
        return None
    if answer.is_infinite or gold.is_infinite:
        return False if not (answer.free_symbols | gold.free_symbols) else None
    names = sorted({str(symbol) for symbol in answer.free_symbols | gold.free_symbols} - {"i"})
    if len(names) > _MOST_VARIABLES:
        return None
    agreed = 0
    for top, bottom in _PLACES if names else _PLACES[:1]:
        place = {name: Rational(top + 3 * index, bottom) for index, name in enumerate(names)}
        values = [_number_at(one, place) for one in (answer, gold)]
        if values[0] is None or values[1] is None:
            continue
        if _relative(values[0], values[1]) > _NEARNESS:
            return False
        agreed += 1
    return True if agreed >= (2 if names else 1) else None


def _number_at(expression: Any, place: dict[str, Any]) -> Any:
    """Evaluate an expression, with decimals as written; None if it has no numeric value."""
    from sympy import Float, I, Rational, nan, zoo

    replaced = {decimal: Rational(str(decimal)) for decimal in expression.atoms(Float)}
    replaced |= {symbol: I if str(symbol) == "i" else place[str(symbol)] for symbol in expression.free_symbols}
    try:
        exact = expression.xreplace(replaced).doit()
        if exact.is_Rational:
            return exact, exact * 0
        number = exact.evalf(_DIGITS)
    except (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError):
        return None
    if not number.is_number or number.has(nan, zoo) or number.is_infinite:
        return None
    real, imaginary = number.as_real_imag()
    return (real, imaginary) if real.is_Float or real.is_Integer or real.is_Rational else None


def _relative(one: tuple[Any, Any], other: tuple[Any, Any]) -> float:
    """Return the difference of two complex numbers as a share of the second; 1 for two rational numbers that differ."""
    size = abs(other[0]) + abs(other[1])
    apart = abs(one[0] - other[0]) + abs(one[1] - other[1])
    if apart == 0:
        return 0.0
    if one[0].is_Rational and other[0].is_Rational and not one[1] and not other[1]:
        # Compared exactly, because two large whole numbers may agree in fifty digits.
        return 1.0
    if size == 0:
        return float(apart)
    return float(apart / size)


def _of_another_case(answer: str, gold: str) -> bool:
    one, other = set(_VARIABLE.findall(answer)), set(_VARIABLE.findall(gold))
    return one != other and set(map(str.casefold, one)) == set(map(str.casefold, other))


def _apart(text: str) -> str:
    """Write `V` as `V_{9}` beside `v`, because the algebra system's grammar reads both as one variable."""
    names = set(_VARIABLE.findall(text))
    return _VARIABLE.sub(
        lambda found: rf"{{{found[0]}_{{9}}}}" if found[0].isupper() and found[0].lower() in names else found[0], text
    )


@lru_cache(maxsize=1024)
def _parsed(text: str) -> list[Any]:
    from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    # Only the LaTeX grammar: the one for plain expressions hands the text to Python's eval. Its own list of units is
    # off, because it takes the last letter of `\pi r^2 h` for hours.
    reading = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
    )
    config = [LatexExtractionConfig(boxed_match_priority=0, normalization_config=reading)]
    written = text.replace(DEGREE, r"^\circ")
    boxed = rf"\boxed{{{written}}}"
    return list(parse(boxed, extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None))  # pyright: ignore[reportArgumentType] - None is documented but not typed
