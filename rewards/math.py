r"""Mathematical equivalence: exact arithmetic if the gold is a number, algebra if it is an expression.

Policies, each with a case below; `docs/verifiers.md` has them in a table:

- The answer is one box (or one line); several different ones are a hedge, unless each of them is the gold.
- If the gold is a plain number, the answer must be one too: an expression that still has to be computed (`2+2`,
  `\binom{8}{1}-1`, an integral, `12/4` for 3) is not an answer. Numbers are compared exactly: 0.333 is not 1/3.
- A name may precede a value: `x = 7` is 7. An equation is not a value: neither `5 = 7` nor `2x = 14` is 7. A chain of
  values is an answer if all of them equal the gold.
- Names of values count: `2, 1` is not `x = 1, y = 2`. Order counts in pairs but not in sets. An inequality is the
  interval that it describes.
- Units may be left out; if both sides name one, they must agree. A percent sign is a unit: 10% is 10, not 0.1. The base
  of a numeral may be left out as well.
- Expressions are compared by value, not by form. A gold of words is met by the same words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from rewards.answer_limits import pathology
from rewards.extraction import OnMany, Where, final_answer, plain_characters, without_wrapper
from rewards.latex import normal
from rewards.latex_spellings import DEGREE
from rewards.math_comparison import difference, gold_is_readable
from rewards.math_sentences import answer_in_sentence
from rewards.math_values import number_difference
from rewards.number_reading import read_number
from rewards.plain_numbers import read_plain_number
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

PI = r"\pi"
_ROW_END = re.compile(r"\\cr(?![A-Za-z])")
_OUTWARD = re.compile(
    r"(?P<opening>[\[(\]])(?P<ends>(?:(?<=\])[^\[\](),]+,[^\[\](),]+(?=[\[\])]))|(?:[^\[\](),]+,[^\[\](),]+(?=\[)))(?P<closing>[\[\])])"
)
"""An interval whose open ends have brackets that point outwards."""
Unevaluated = Literal["reject", "accept"]

CASES = (
    # This case comes first: a worker judges it at its start, which loads the algebra system.
    Case(response=r"\boxed{1+\sqrt{2}}", gold=r"\sqrt2+1", expect="accept"),
    Case(response=r"12 + 34 = 46, so \boxed{46}", gold="46", expect="accept"),
    Case(response=r"\boxed{\frac12}", gold="0.5", expect="accept"),
    Case(response=r"\boxed{12\text{ cm}}", gold="12", expect="accept", note="the gold names no unit"),
    Case(response="\\boxed{\uff17}", gold="7", expect="accept", note="full-width digits are digits"),
    Case(response=r"\boxed{\{2, 1\}}", gold=r"\{1,2\}", expect="accept"),
    Case(response=r"\boxed{x=7}", gold="x = 7", expect="accept"),
    Case(response=r"\boxed{47}", gold="46", expect="reject"),
    Case(response=r"\boxed{0.333}", gold="1/3", expect="reject", note="close is not equal"),
    Case(response="the answer is 46", gold="46", expect="reject", note="not boxed"),
    Case(response=r"\boxed{46", gold="46", expect="reject", note="cut off"),
    Case(response=r"\boxed{(2,1)}", gold="(1,2)", expect="reject"),
    Case(response=r"\boxed{10\text{ kg}}", gold=r"10\text{ cm}", expect="reject"),
    Case(response=r"\boxed{5} or \boxed{7}", gold="7", expect="adversarial", note="hedged"),
    Case(response=r"\boxed{5=7}", gold="7", expect="adversarial", note="a relation"),
    Case(response=r"\boxed{2+2}", gold="4", expect="adversarial", note="the question, not the answer"),
    Case(response=r"\boxed{\sum_{k=1}^{100} k}", gold="5050", expect="adversarial", note="unevaluated"),
    Case(response=r"\boxed{9^{9^{9^{9}}}}", gold=r"\sqrt2", expect="adversarial", note="never ends"),
    Case(response=r"\boxed{(10^8)!}", gold=r"\sqrt2", expect="adversarial", note="never ends"),
    Case(response=r"\boxed{\frac{1}{900!}}", gold=r"\frac{1}{902!}", expect="adversarial", note="equal when rounded"),
)


@verifier(name="math.equivalent", version="3", timeout_s=2.0, memory_mib=1024, cases=CASES)
def equivalent(
    sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject", unevaluated: Unevaluated = "reject"
) -> Verdict:
    """1 when the final answer is mathematically equal to the gold, otherwise 0.

    Args:
        sample: Its gold is a text or a number; LaTeX with or without delimiters or a box.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        unevaluated: Whether `2+2` is an answer where the gold is 4.
    """
    gold = _gold_text(sample.gold)
    if gold is None or not _readable(gold):
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a number or an expression")

    def accepts(answer: str) -> bool:
        return _difference(_spelled(answer), gold, unevaluated) is None

    found = final_answer(sample.response, where=where, on_many=on_many, accepts=accepts)
    if found.text is None:
        cut_off = ("truncated",) if sample.finish == "length" and "truncated" not in found.tags else ()
        return Verdict(score=0.0, reason=found.reason, tags=found.tags + cut_off)
    answer = _spelled(found.text)
    reason = _difference(answer, gold, unevaluated)
    if reason is not None and where != "last_boxed" and "\\boxed" not in sample.response:
        said = answer_in_sentence(found.text)
        if _says_number(found.text, gold) or (said is not None and accepts(said)):
            reason = None
    return Verdict(score=0.0 if reason else 1.0, parsed=answer, reason=reason or "equal")


def _difference(answer: str, gold: str, unevaluated: Unevaluated) -> str | None:
    """Say how the answer differs from the gold; None if it does not. An angle in degrees may equal one in multiples of
    pi.
    """
    if answer == gold:
        return None
    if (DEGREE in answer and PI in gold) or (DEGREE in gold and PI in answer):
        answer, gold = (text.replace(DEGREE, r" \cdot \frac{\pi}{180}") for text in (answer, gold))
    problem = pathology(answer, gold=gold)
    if problem is not None:
        return f"not read: {problem}"
    return difference(answer, gold, evaluated=unevaluated == "reject")


def _says_number(line: str, gold: str) -> bool:
    """Whether a line outside a box is a sentence such as "Thus, x = 7.", whose only number is the gold."""
    number = read_plain_number(gold)
    if number is None:
        return False
    said = read_number(line).number
    return said is not None and number_difference(said, number, evaluated=True) is None


def _gold_text(gold: object) -> str | None:
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        return None
    text = plain_characters(str(gold))
    if r"\boxed" in text:
        text = final_answer(text, where="last_boxed", on_many="reject").text or ""
    return _spelled(text) or None


def _spelled(text: str) -> str:
    return _OUTWARD.sub(_as_round_brackets, normal(_ROW_END.sub(r"\\\\", without_wrapper(text))))


def _as_round_brackets(interval: re.Match[str]) -> str:
    """Write the open ends of `]1,3[` as `(1,3)`."""
    opening = "(" if interval["opening"] == "]" else "["
    return f"{opening}{interval['ends']}{')' if interval['closing'] == '[' else ']'}"


@lru_cache(maxsize=4096)
def _readable(gold: str) -> bool:
    if not any(map(str.isalnum, gold)):
        return False
    return gold_is_readable(gold)
