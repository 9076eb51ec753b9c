"""Legal citations: compares the authorities that an answer cites with those of the gold, whatever their spelling.

Policies, each with a case below:

- A citation is a volume, a reporter that exists, and a page; or a title, a code and a section. Spellings of a reporter
  are equal (`U. S.` is `U.S.`). `Id.`, `supra` and short forms (`410 U.S., at 120`) alone cite nothing.
- Every cited authority must be in the gold: citing many is not rewarded, and neither is an invented reporter.
- A citation counts whatever the text says about it: "it is not 410 U.S. 113" cites it.
- A year or a subsection that both sides name must agree. A pin cite is compared only with `pin_cite`.
- Parallel citations are right if the gold's entry has them too: `410 U.S. 113, 93 S. Ct. 705`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from rewards.extraction import OnMany, Where, final_answer
from rewards.legal_citations import Citation, read_citations
from rewards.set_match import SetMatch
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_ANSWER = 20_000
"""Longest answer in characters. eyecite takes 0.3 s for that many characters of nothing but citations."""
LARGEST_GOLD = 200
_ROE, _BROWN = "410 U.S. 113 (1973)", "347 U.S. 483 (1954)"

CASES = (
    Case(response="See Roe v. Wade, 410 U. S. 113, 120-21 (1973).", gold=_ROE, expect="accept"),
    Case(response="It follows from 347 U.S. 483 and 410 US 113.", gold=[_ROE, _BROWN], expect="accept"),
    Case(
        response="Under 15 U.S.C. § 78j(b) and 17 CFR 240.10b-5",
        gold=["15 USC 78j", "17 C.F.R. § 240.10b-5"],
        expect="accept",
    ),
    Case(response="123 Harv. L. Rev. 456, 460 (2010)", gold="123 Harv. L. Rev. 456", expect="accept", note="a journal"),
    Case(
        response="384 U.S. 436, 86 S. Ct. 1602 (1966)",
        gold="384 U.S. 436, 86 S.Ct. 1602",
        expect="accept",
        note="parallel",
    ),
    Case(response="410 U.S. 114", gold=_ROE, expect="reject", note="another page"),
    Case(response="410 U.S. 113 (1980)", gold=_ROE, expect="reject", note="another year"),
    Case(response="17 C.F.R. § 240.14a-9", gold="17 C.F.R. § 240.10b-5", expect="reject", note="another rule"),
    Case(response="410 U.S. 113", gold=[_ROE, _BROWN], expect="reject", note="one of two"),
    Case(response="Roe v. Wade decided this.", gold=_ROE, expect="reject", note="a name is no citation"),
    Case(
        response="Id. at 113. Roe, supra, at 113. 410 U.S., at 113", gold=_ROE, expect="adversarial", note="short forms"
    ),
    Case(response=f"{_ROE} or {_BROWN}", gold=_ROE, expect="adversarial", note="hedged"),
    Case(
        response="; ".join(f"410 U.S. {page}" for page in range(1, 300)),
        gold=_ROE,
        expect="adversarial",
        note="stuffed",
    ),
    Case(response=f"{_ROE}; 123 Zed. Ct. 456", gold=_ROE, expect="adversarial", note="an invented reporter beside"),
    Case(response="410 Zed. 113 (1973)", gold=_ROE, expect="adversarial", note="an invented reporter"),
    Case(response="410 U.\u0405. 113", gold=_ROE, expect="adversarial", note="a Cyrillic letter that looks like S"),
    Case(response="eyecite", gold=_ROE, expect="adversarial", note="the library's joke"),
)


SELF_TEST_OFF = {
    "legal.citation": {"gold in prose": "law is cited in running text, and whatever the text cites counts as cited"}
}


@verifier(name="legal.citation", version="2", timeout_s=5.0, extra="legal", modules=("eyecite",), cases=CASES)
def citation(
    sample: Sample,
    *,
    where: Where = "whole_text",
    on_many: OnMany = "reject",
    pin_cite: bool = False,
    partial: bool = False,
) -> Verdict:
    """1 when the answer cites exactly the gold's authorities, otherwise 0, or F0.5 of them.

    Args:
        sample: Its gold is a citation or a list of citations; parallel citations of one authority form one entry.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        pin_cite: Whether the answer must also name the page within the authority, or the subsection, that the gold
            names.
        partial: Give F0.5 as the score, so that a wrong citation costs more than a missing one.
    """
    golds = _gold_authorities(sample.gold)
    if golds is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not full citations that can be read")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    if len(found.text) > LONGEST_ANSWER:
        return Verdict(score=0.0, reason=f"more than {LONGEST_ANSWER} characters", tags=("stuffed",))
    answer = list(dict.fromkeys(read_citations(found.text)))
    if not answer:
        return Verdict(score=0.0, reason="no full citation", tags=("no_answer",))
    return _judged(answer, golds, pin_cite=pin_cite, partial=partial)


def _judged(answer: list[Citation], golds: list[list[Citation]], *, pin_cite: bool, partial: bool) -> Verdict:
    # Grouped by authority, so that citing one with many pages or years neither dilutes nor hides an error.
    cited: dict[tuple[str, ...], list[Citation]] = {}
    for one in answer:
        cited.setdefault(one.key, []).append(one)
    hits = [_golds_named(citations, golds, pin_cite=pin_cite) for citations in cited.values()]
    right = sum(map(bool, hits))
    match = SetMatch(precision=right / len(cited), recall=len(set[int]().union(*hits)) / len(golds))
    invented = not all(one.known for one in answer)
    return Verdict(
        score=match.f_half if partial else float(match.is_exact),
        parts=match.parts,
        parsed="; ".join(" ".join(key) for key in list(cited)[:20]),
        reason="equal" if match.is_exact else f"{right} of {len(cited)} authorities are in the gold",
        tags=(("unknown_reporter",) if invented else ()) + match.tags(answers=len(cited), golds=len(golds)),
    )


def _golds_named(citations: list[Citation], golds: list[list[Citation]], *, pin_cite: bool) -> set[int]:
    """Return the indices of the golds that citations of one authority name; none if one of them contradicts the
    gold.
    """
    return {
        index
        for index, gold in enumerate(golds)
        for wanted in gold
        if all(_agree(one, wanted) for one in citations)
        and (not pin_cite or not wanted.pin or any(one.pin == wanted.pin for one in citations))
    }


def _agree(answer: Citation, gold: Citation) -> bool:
    """Whether two citations name the same authority, and the same year and subsection if both name one."""
    if answer.key != gold.key or (answer.year and gold.year and answer.year != gold.year):
        return False
    is_section = gold.pin.startswith("(") and answer.pin.startswith("(")
    return not is_section or answer.pin == gold.pin


def _gold_authorities(gold: object) -> list[list[Citation]] | None:
    several = cast("Sequence[object]", gold) if isinstance(gold, list | tuple) else [gold]
    if not several or len(several) > LARGEST_GOLD:
        return None
    authorities: list[list[Citation]] = []
    for entry in several:
        citations = read_citations(entry) if isinstance(entry, str) and len(entry) <= 1000 else []
        if not citations or not all(one.known for one in citations):
            return None
        authorities.append(citations)
    return authorities
