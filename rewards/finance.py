"""Financial figures: value, scale, currency, sign and rate, compared at the precision of the gold.

Policies, each with a case below:

- The answer must be a single figure: two figures, a range or a sentence are not an answer.
- Units may be left out. If both sides name a unit, the units must agree: currencies by code, percent and basis points
  by value; percentage points are not percent. If only one side names a unit, the numbers are compared as written.
- A bare `$` means the US dollar, a bare `¥` the yen.
- The answer is right if it differs by at most half a unit of the last digit that the gold writes: 24,268 million is
  24.3bn, and 24.2bn is not.
"""

from __future__ import annotations

from fractions import Fraction

from rewards.extraction import OnMany, Where, final_answer
from rewards.finance_figures import Figure, read_figure
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

CASES = (
    Case(response="Answer: $24,300 million", gold="24.3bn USD", expect="accept"),
    Case(response=r"\boxed{(1,234)}", gold="-1,234", expect="accept", note="parentheses are a minus sign"),
    Case(response="250 bps", gold="2.5%", expect="accept"),
    Case(response="24,3 Mrd. \u20ac", gold="EUR 24.3 billion", expect="accept", note="German form"),
    Case(response="24 300,50 EUR", gold="24300.50", expect="accept", note="French form; the gold names no currency"),
    Case(response="$24,268mm", gold="$24.3bn", expect="accept", note="rounded to the gold's precision"),
    Case(response="$24.2bn", gold="$24.3bn", expect="reject"),
    Case(response="$24.3 million", gold="$24.3bn", expect="reject", note="another scale"),
    Case(response="\u20ac24.3bn", gold="$24.3bn", expect="reject", note="another currency"),
    Case(response="1,234", gold="(1,234)", expect="reject", note="another sign"),
    Case(response="0.025", gold="2.5%", expect="reject", note="a percent sign is a unit"),
    Case(response="2.5 pp", gold="2.5%", expect="reject", note="points of percent are not percent"),
    Case(response="$24bn", gold="$24.3bn", expect="reject", note="less precise than the gold"),
    Case(response="$24.3bn or $25.1bn", gold="$24.3bn", expect="adversarial", note="hedged"),
    Case(response="$20bn-$30bn", gold="$24.3bn", expect="adversarial", note="a range"),
    Case(response=r"\boxed{24.3bn} \boxed{25bn}", gold="24.3bn", expect="adversarial", note="several answers"),
    Case(response="24.3bn USD EUR GBP", gold="24.3bn EUR", expect="adversarial", note="every currency"),
    Case(response="9e999999999", gold="24.3bn", expect="adversarial", note="no exponents"),
    Case(response="24.\u0417bn", gold="24.3bn", expect="adversarial", note="a Cyrillic letter that looks like 3"),
    Case(response="The figure is, say the analysts, 24.3bn", gold="24.3bn", expect="adversarial", note="prose"),
)


@verifier(name="finance.figure", version="2", isolation="inline", cases=CASES)
def figure(
    sample: Sample,
    *,
    where: Where = "auto",
    on_many: OnMany = "reject",
    relative_tolerance: float = 0.0,
    unit_required: bool = False,
) -> Verdict:
    """1 when the answer is the gold's figure at the gold's precision, otherwise 0.

    Args:
        sample: Its gold is a figure as text (`24.3bn USD`, `(1,234)`, `250 bps`) or a number.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        relative_tolerance: Tolerance as a share of the gold, in addition to half a unit of its last digit.
        unit_required: Whether the answer must name the gold's unit.
    """
    gold = _gold_figure(sample.gold)
    if gold is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not one figure")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    answer = read_figure(found.text)
    if answer is None:
        return Verdict(score=0.0, parsed=found.text[:200], reason="not one figure", tags=("no_answer",))
    reason = _difference(answer, gold, relative_tolerance=relative_tolerance, unit_required=unit_required)
    return Verdict(score=0.0 if reason else 1.0, parsed=str(answer), reason=reason or "equal")


def _difference(answer: Figure, gold: Figure, *, relative_tolerance: float, unit_required: bool) -> str | None:
    """Say how the answer differs from the gold; None if it does not."""
    if unit_required and gold.unit and not answer.unit:
        return f"the unit is missing: {gold.unit}"
    if answer.unit and gold.unit and answer.dimension != gold.dimension:
        return f"the unit is {answer.unit}, not {gold.unit}"
    both = bool(answer.unit and gold.unit)
    wanted, given = (gold.value, answer.value) if both else (gold.written, answer.written)
    half = gold.half_unit if both else gold.half_unit_written
    allowed = half + abs(wanted) * Fraction(relative_tolerance)
    return None if abs(given - wanted) <= allowed else "another value"


def _gold_figure(gold: object) -> Figure | None:
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        return None
    return read_figure(_plain_decimal(gold) if isinstance(gold, float) else str(gold)[:400])


def _plain_decimal(number: float) -> str:
    """Write a number without an exponent, which figures do not have: 1e+16 is 10000000000000000."""
    text = repr(number)
    return text.removesuffix(".0") if "e" not in text else f"{number:.0f}" if abs(number) > 1 else f"{number:.20f}"
