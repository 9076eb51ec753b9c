r"""The final integer of a solution, as in GSM8K and AIME, read without an algebra system.

`18`, `18.00`, `$18`, `1,800` and `073` are integers; `36/2`, `17+1` and `18.5` are not; `17+1 = 18` is 18. One number
is an answer; several different numbers are a hedge.
"""

from __future__ import annotations

from rewards.extraction import OnMany, Where, final_answer
from rewards.number_reading import gold_number, read_number
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

CASES = (
    Case(response="6 boxes of 3 are 18.\n#### 18", gold="She has 6 boxes ...\n#### 18", expect="accept", note="GSM8K"),
    Case(response=r"\boxed{073}", gold=73, expect="accept", note="AIME writes three digits"),
    Case(response="The answer is $18.00.", gold="18", expect="accept"),
    Case(response="She pays 1,800 dollars.", gold=1800, expect="accept"),
    Case(response="12 + 6 = 18", gold=18, expect="accept", note="arithmetic that is shown and right"),
    Case(response="12 + 7 = 18", gold=18, params={"on_many": "last"}, expect="accept", note="the last one counts"),
    Case(response="19", gold=18, expect="reject"),
    Case(response="18.5", gold=18, expect="reject"),
    Case(response="eighteen", gold=18, expect="reject"),
    Case(response="There were 18 of them. I cannot say.\nSorry.", gold=18, expect="reject"),
    Case(response="17 or 18", gold=18, expect="adversarial", note="hedged"),
    Case(response="36/2", gold=18, expect="adversarial", note="a division that was not carried out"),
    Case(response="17+1", gold=18, expect="adversarial"),
    Case(response=" ".join(str(number) for number in range(200)), gold=18, expect="adversarial", note="stuffed"),
    Case(response=r"\boxed{18", gold=18, expect="adversarial", note="cut off"),
    Case(response="9" * 100_000, gold=18, expect="adversarial", note="digits without end"),
)


@verifier(name="math.final_integer", version="3", isolation="inline", cases=CASES)
def final_integer(sample: Sample, *, where: Where = "auto", on_many: OnMany = "reject") -> Verdict:
    """1 when the final answer is the integer of the gold, otherwise 0.

    Args:
        sample: Its gold is an integer, or a text that is one or that ends with `#### <integer>`.
        where: Place of the answer in the response.
        on_many: Whether several different boxes or numbers are rejected or the last one counts; `last` also reads the
            result of a computation that is wrong, such as `12 + 7 = 18`.
    """
    gold = _gold(sample.gold)
    if gold is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not an integer")

    def judged(answer: str) -> Verdict:
        text = answer.rpartition("=")[2] if on_many == "last" else answer
        reading = read_number(text, on_many=on_many)
        if reading.number is None:
            return Verdict(score=0.0, parsed=text[:100], reason=reading.reason, tags=reading.tags)
        if reading.number.has_bar or reading.number.value.denominator != 1:
            return Verdict(score=0.0, parsed=text[:100], reason="not an integer")
        equal = reading.number.value == gold
        return Verdict(score=float(equal), parsed=text[:100], reason="equal" if equal else "another integer")

    found = final_answer(sample.response, where=where, on_many=on_many, accepts=lambda text: judged(text).score == 1.0)
    return judged(found.text) if found.text is not None else Verdict(score=0.0, reason=found.reason, tags=found.tags)


def _gold(gold: object) -> int | None:
    if isinstance(gold, str):
        gold = gold.rpartition("####")[2].strip()
    number = gold_number(gold)
    if number is None or number.has_bar or number.value.denominator != 1:
        return None
    return int(number.value)
