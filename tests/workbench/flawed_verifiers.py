"""Verifiers with one flaw each, and one without, for the tests of the tools that look for flaws."""

from __future__ import annotations

import itertools

from rewards.extraction import OnMany, Where, final_answer
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

BOXED_CASES = (
    Case(response=r"so \boxed{Paris}", gold="Paris", expect="accept"),
    Case(response=r"\boxed{Rome}", gold="Rome", expect="accept"),
    Case(response=r"\boxed{12}", gold="12", expect="accept"),
    Case(response=r"\boxed{Oslo}", gold="Paris", expect="reject"),
    Case(response="", gold="Paris", expect="reject"),
    Case(response=r"\boxed{Paris", gold="Paris", expect="reject"),
    Case(response=r"\boxed{Paris} \boxed{Rome}", gold="Paris", expect="adversarial"),
    Case(response="Paris Rome", gold="Paris", expect="adversarial"),
    Case(response=r"\boxed{1 2}", gold="12", expect="adversarial"),
)
CALLS = itertools.count()


def _read(sample: Sample, where: Where, on_many: OnMany) -> str:
    return final_answer(sample.response, where=where, on_many=on_many).text or ""


def _bad_gold(sample: Sample) -> Verdict | None:
    good = isinstance(sample.gold, str | int) and not isinstance(sample.gold, bool) and str(sample.gold)
    return None if good else Verdict(fault=Fault.GOLD, reason="not text")


@verifier(name="flawed.none", version="1", isolation="inline", cases=BOXED_CASES)
def none(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """1 when the answer is the gold."""
    answer = _read(sample, where, on_many)
    return _bad_gold(sample) or Verdict(score=float(answer == str(sample.gold)), parsed=answer)


@verifier(name="flawed.hedged", version="1", isolation="inline", cases=BOXED_CASES)
def hedged(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """Pays for an answer that begins with the gold."""
    answer = _read(sample, where, on_many)
    return _bad_gold(sample) or Verdict(score=float(answer.startswith(str(sample.gold))), parsed=answer)


@verifier(name="flawed.breaks", version="1", isolation="inline", cases=BOXED_CASES)
def breaks(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """Raises for a NUL."""
    assert "\0" not in sample.response
    answer = _read(sample, where, on_many)
    return _bad_gold(sample) or Verdict(score=float(answer == str(sample.gold)), parsed=answer)


@verifier(name="flawed.blames", version="1", isolation="inline", cases=BOXED_CASES)
def blames(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """Calls a gold that it cannot read a fault of the model."""
    gold: str = sample.gold
    answer = _read(sample, where, on_many)
    return Verdict(score=float(bool(answer) and answer == gold.strip()), parsed=answer)


@verifier(name="flawed.fickle", version="1", isolation="inline", cases=BOXED_CASES)
def fickle(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """Says something else each time."""
    answer = _read(sample, where, on_many)
    equal = float(answer == str(sample.gold))
    return _bad_gold(sample) or Verdict(score=equal, parsed=answer, tags=(str(next(CALLS)),))


@verifier(name="flawed.pays_for_rome", version="1", isolation="inline", cases=BOXED_CASES)
def pays_for_rome(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """Pays for one answer whatever the gold."""
    answer = _read(sample, where, on_many)
    return _bad_gold(sample) or Verdict(score=float(answer in (str(sample.gold), "Rome")), parsed=answer)


@verifier(name="flawed.few_cases", version="1", isolation="inline", cases=BOXED_CASES[:3])
def few_cases(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """Ships no case that is refused."""
    answer = _read(sample, where, on_many)
    return _bad_gold(sample) or Verdict(score=float(answer == str(sample.gold)), parsed=answer)


CONTAINS_CASES = (
    Case(response="It is Paris.", gold="Paris", expect="accept"),
    Case(response="Rome it is", gold="Rome", expect="accept"),
    Case(response="12 it is", gold="12", expect="accept"),
    Case(response="Oslo", gold="Paris", expect="reject"),
    Case(response="", gold="Paris", expect="reject"),
    Case(response="Par is", gold="Paris", expect="reject"),
    Case(response="P-a-r-i-s", gold="Paris", expect="adversarial"),
    Case(response="not telling", gold="Paris", expect="adversarial"),
    Case(response="ask me later", gold="Paris", expect="adversarial"),
)


@verifier(name="flawed.declared", version="1", isolation="inline", cases=CONTAINS_CASES)
def declared(sample: Sample) -> Verdict:
    """Pays for the gold anywhere, and says so."""
    return _bad_gold(sample) or Verdict(score=float(str(sample.gold) in sample.response))


SELF_TEST_OFF = {
    "flawed.declared": {
        "gold in prose": "it pays for the gold anywhere",
        "gold or another": "it pays for the gold anywhere",
    }
}


@verifier(
    name="flawed.no_library",
    version="1",
    isolation="inline",
    cases=BOXED_CASES,
    extra="chem",
    modules=("a_library_that_is_not_there",),
)
def no_library(sample: Sample) -> float:
    """Needs what is not installed."""
    return 0.0


@verifier(name="flawed.no_service", version="1", isolation="remote", cases=BOXED_CASES)
async def no_service(sample: Sample, *, endpoint: str = "") -> Verdict:
    """Needs what does not run."""
    return Verdict(fault=Fault.INFRA, reason="nobody answers")


@verifier(
    name="flawed.form",
    version="1",
    isolation="inline",
    requires=(),
    cases=(
        Case(response="a b c", expect="accept"),
        Case(response="a, b", expect="accept"),
        Case(response="word", expect="accept"),
        Case(response="", expect="reject"),
        Case(response=" ", expect="reject"),
        Case(response="\n", expect="reject"),
        Case(response="\u200b", expect="adversarial"),
        Case(response="\0", expect="adversarial"),
        Case(response="\t\t", expect="adversarial"),
    ),
)
def form(sample: Sample) -> float:
    """1 when there is something to see; needs no gold."""
    return float(any(character.isprintable() and not character.isspace() for character in sample.response))
