r"""Numbers, compared exactly or within a tolerance. `rewards.number_reading` defines what counts as a number.

Policies, each with a case below:

- If the recipe sets no tolerance, a whole gold must be met exactly, and any other gold within `DEFAULT_TOLERANCE`.
- Several different numbers are a hedge; a relation, a range or an expression is not a number.
- A sign or a scale in words counts: `minus 5` is -5, `5 dozen` is 60. An unfinished computation (`half of 10`, `5
  squared`) is not a number, and neither is a question. `2+3 = 5` is 5, because both sides are equal.
- Units may be left out; if both sides name one, they must agree. A percent sign is a unit: 12% is 12 and not 0.12,
  unless `percent: fraction`.
- `1,234` is 1234. `1,5` is ambiguous and rejected, unless `decimal_comma` is set.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from rewards.extraction import OnMany, Where, final_answer
from rewards.number_reading import gold_number, read_number, unit_difference
from rewards.plain_numbers import PlainNumber
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

DEFAULT_TOLERANCE = 1e-4
"""Relative tolerance for golds that are not whole numbers."""
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]

CASES = (
    Case(response=r"so it is \boxed{3.1416}", gold=3.14159, expect="accept"),
    Case(response="The total is 1,234 dollars.", gold="1234", expect="accept", note="a sentence with one number"),
    Case(response="Answer: 1.5 x 10^8", gold=1.5e8, expect="accept"),
    Case(response="-0", gold=0, expect="accept"),
    Case(response="5 million", gold="5,000,000", expect="accept", note="a scale word multiplies"),
    Case(response="12 %", gold="12%", expect="accept"),
    Case(response="12%", gold=0.12, params={"percent": "fraction"}, expect="accept"),
    Case(response="1.234,5", gold="1234,5", params={"decimal_comma": True}, expect="accept"),
    Case(response="101", gold=100, params={"relative_tolerance": 0.01}, expect="accept"),
    Case(response="101", gold=100, expect="reject", note="whole numbers are exact by default"),
    Case(response="0.33", gold="1/3", expect="reject"),
    Case(response="12%", gold=0.12, expect="reject", note="a percent sign is a unit"),
    Case(response="10 kg", gold="10 cm", expect="reject"),
    Case(response="1,5", gold=1.5, expect="reject", note="one and a half, or 1 and 5?"),
    Case(response="It cannot be known.", gold=7, expect="reject"),
    Case(response="5 or 7", gold=7, expect="adversarial", note="hedged"),
    Case(response="between 5 and 7", gold=7, expect="adversarial"),
    Case(response="7 or something else", gold=7, expect="adversarial"),
    Case(response="5=7", gold=7, expect="adversarial"),
    Case(response="2+2", gold=4, expect="adversarial"),
    Case(response="1e999999999", gold=1, expect="adversarial", note="must not be expanded"),
    Case(response="1e400", gold=1.0, expect="adversarial", note="no infinity that is close to everything"),
    Case(response="1/0", gold=1, expect="adversarial"),
    Case(response="0x1F", gold=0, expect="adversarial", note="an identifier, not a zero"),
    Case(response="it is not 7", gold=7, expect="adversarial"),
    Case(response="7x", gold=7, expect="adversarial"),
    Case(response="nan", gold=7, expect="adversarial"),
    Case(response="more than 7", gold=7, expect="adversarial"),
    Case(response="minus 7", gold=7, expect="adversarial"),
    Case(response="half of 7", gold=7, expect="adversarial"),
    Case(response="What is 7/2?", gold=3.5, expect="adversarial", note="the question"),
)


@verifier(name="number.close", version="3", isolation="inline", cases=CASES)
def close(
    sample: Sample,
    *,
    where: Where = "auto",
    on_many: OnMany = "reject",
    relative_tolerance: Tolerance | None = None,
    absolute_tolerance: Tolerance = 0.0,
    percent: Literal["unit", "fraction"] = "unit",
    decimal_comma: bool = False,
) -> Verdict:
    """1 when the answer is a single number that is close enough to the gold, otherwise 0.

    Close means |answer - gold| <= max(absolute_tolerance, relative_tolerance * |gold|), in exact arithmetic.

    Args:
        sample: Its gold is a number, or a text with one number, with or without a unit.
        where: Place of the answer in the response.
        on_many: Whether several different numbers or boxes are rejected or the last one counts.
        relative_tolerance: If unset, 0 for a whole gold and `DEFAULT_TOLERANCE` for any other.
        absolute_tolerance: Largest absolute difference, in the unit of the gold.
        percent: Whether 12% is 12 with a unit, or 0.12.
        decimal_comma: Whether numbers are written as `1.234,5` instead of `1,234.5`; also in a gold that is text.
    """
    gold = gold_number(sample.gold, decimal_comma=decimal_comma)
    if gold is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a number")
    if percent == "fraction":
        gold = _without_percent(gold)

    def judged(text: str) -> Verdict:
        reading = read_number(text, on_many=on_many, decimal_comma=decimal_comma)
        if reading.number is None:
            return Verdict(score=0.0, parsed=text[:100], reason=reading.reason, tags=reading.tags)
        answer = _without_percent(reading.number) if percent == "fraction" else reading.number
        reason = difference(answer, gold, relative_tolerance=relative_tolerance, absolute_tolerance=absolute_tolerance)
        return Verdict(score=0.0 if reason else 1.0, parsed=text[:100], reason=reason or "close")

    found = final_answer(sample.response, where=where, on_many=on_many, accepts=lambda text: judged(text).score == 1.0)
    return judged(found.text) if found.text is not None else Verdict(score=0.0, reason=found.reason, tags=found.tags)


def difference(
    answer: PlainNumber, gold: PlainNumber, *, relative_tolerance: float | None, absolute_tolerance: float
) -> str | None:
    """Say why the answer is not close to the gold; None if it is. For the tolerances see `close`."""
    is_whole = gold.value.denominator == 1
    if answer.has_bar and not gold.has_bar and is_whole:
        return "a division that was not carried out"
    unit = unit_difference(answer.unit, gold.unit)
    if unit is not None:
        return unit
    if answer.value == gold.value:
        return None
    if relative_tolerance is None:
        relative_tolerance = 0.0 if is_whole else DEFAULT_TOLERANCE
    if not relative_tolerance and not absolute_tolerance:
        return "another number"
    allowed = max(_exact(absolute_tolerance), _exact(relative_tolerance) * abs(gold.value))
    return None if abs(answer.value - gold.value) <= allowed else "another number"


@lru_cache(maxsize=256)
def _exact(tolerance: float) -> Fraction:
    """Convert the tolerance as the recipe writes it: 0.3, and not the binary number just below it."""
    return Fraction(repr(tolerance))


def _without_percent(number: PlainNumber) -> PlainNumber:
    return replace(number, value=number.value / 100, unit="") if number.unit == "%" else number
