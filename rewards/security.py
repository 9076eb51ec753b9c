"""Identifiers used in security work: CVE, CWE and ATT&CK ids as sets, CVSS vectors by their metrics.

Policies, each with a case below:

- The answer consists of ids and nothing else; with `prose`, it is every id of the gold's families in the text. Naming
  an id that is not in the gold is wrong, so that listing everything is not rewarded.
- Ids are compared as a whole: a sub-technique is not its technique. `CWE-079` is `CWE-79`.
- Vectors are compared by their metrics in any order; undefined metrics (`X`) are ignored. Versions must agree. Two
  different vectors are a hedge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rewards.set_match import SetMatch
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_VECTOR = 400
"""Longest vector in characters; CVSS 4.0 with all its metrics takes 250."""
LARGEST_GOLD = 1000
_WORD = re.compile(r"\w")
_FAMILIES = {
    "CVE": re.compile(r"(?<![\w-])CVE-(\d{4})-(\d{4,12})(?![\w]|-\w)", re.IGNORECASE | re.ASCII),
    "CWE": re.compile(r"(?<![\w-])CWE-(\d{1,6})(?![\w]|-\w)", re.IGNORECASE | re.ASCII),
    "ATT&CK": re.compile(r"(?<![\w.-])(TA|T|S|G|M)(\d{4})(\.\d{3})?(?![\w]|[.-]\w)", re.ASCII),
}
# The end is bounded by length and not by the next space, because a vector in prose is followed by a full stop.
_VECTOR = re.compile(rf"CVSS:[234]\.\d(?:/[A-Za-z]{{1,3}}:[A-Za-z]{{1,6}}){{1,{LONGEST_VECTOR // 4}}}/?", re.ASCII)
_BARE_VECTOR = re.compile(r"(?<![\w/:])AV:[A-Z](?:/[A-Za-z]{1,3}:[A-Z]{1,3}){5,13}(?![\w/:])", re.ASCII)
_V3, _V4 = (
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
    "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
)

CASES = (
    Case(response=f"Answer: {_V3}.", gold=_V3, expect="accept"),
    Case(response="So this is it.\n\nAnswer: CVE-2021-44228", gold="CVE-2021-44228", expect="accept"),
    Case(response="cwe-079", gold="CWE-79", expect="accept"),
    Case(response="T1059.001 and T1566", gold=["T1566", "T1059.001"], expect="accept"),
    Case(
        response="CVSS:3.1/C:H/I:H/A:H/S:U/AV:N/AC:L/PR:N/UI:N/E:X",
        gold=_V3,
        expect="accept",
        note="order and X metrics",
    ),
    Case(response="CVE\u20112021\u201144228", gold="CVE-2021-44228", expect="accept", note="typographic hyphens"),
    Case(response="I saw CVE-2021-44228 mentioned.", gold="CVE-2021-44228", expect="reject", note="a mention"),
    Case(response="CVE-2021-45046", gold="CVE-2021-44228", expect="reject"),
    Case(response="T1059", gold="T1059.001", expect="reject", note="the technique, not its sub-technique"),
    Case(response="T1566", gold=["T1566", "T1059.001"], expect="reject", note="one of two"),
    Case(response=_V3.replace("3.1", "3.0"), gold=_V3, expect="reject", note="another version"),
    Case(response=_V4.replace("SA:N", "SA:H"), gold=_V4, expect="reject"),
    Case(response="CVSS:3.1/AV:N/AC:L", gold=_V3, expect="reject", note="metrics are missing"),
    Case(response="CVE-2021-44228 or CVE-2021-45046", gold="CVE-2021-44228", expect="adversarial", note="hedged"),
    Case(response=" ".join(f"CWE-{n}" for n in range(1, 1400)), gold="CWE-79", expect="adversarial", note="stuffed"),
    Case(response="CVE-2021-442281", gold="CVE-2021-44228", expect="adversarial", note="the id inside a longer one"),
    Case(response="\u0421VE-2021-44228", gold="CVE-2021-44228", expect="adversarial", note="a Cyrillic letter"),
    Case(response=f"{_V3} {_V3.replace('S:U', 'S:C')}", gold=_V3, expect="adversarial", note="two vectors"),
    Case(response=f"{_V3}/S:C", gold=_V3, expect="adversarial", note="one metric twice"),
)


@verifier(name="security.identifier", version="2", isolation="inline", extra="rewards", modules=("cvss",), cases=CASES)
def identifier(
    sample: Sample,
    *,
    where: Where = "auto",
    on_many: OnMany = "reject",
    prose: bool = False,
    partial: bool = False,
) -> Verdict:
    """1 when the answer names exactly the gold's ids, or the gold's CVSS vector; otherwise 0, or a share of it.

    Args:
        sample: Its gold is an id, a list of ids, or one CVSS vector of version 2, 3 or 4.
        where: Place of the answer in the response; `whole_text` for ids in several lines.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        prose: Whether words may accompany the ids or the vector; then a mere mention counts as an answer.
        partial: For ids, give F0.5 as the score, so that a wrong id costs more than a missing one. For a vector, give
            the share of base metrics that agree, times the closeness of the base score (1 - difference / 10).
    """
    golds = _gold_texts(sample.gold)
    gold_vector = _gold_vector(golds)
    gold_ids = {identifier for text in golds or () for _, identifier in _ids(text, _FAMILIES)}
    if golds is None or (gold_vector is None and not _all_are_ids(golds)):
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not ids or one CVSS vector")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    text = _plain_hyphens(found.text)
    if not prose and _WORD.search(_without_findings(text)) is not None:
        return Verdict(score=0.0, parsed=text[:200], reason="words beside the answer", tags=("no_answer",))
    if gold_vector is not None:
        return _judged_vector(text, gold_vector, partial)
    families = {family for one in gold_ids for family, _ in _ids(one, _FAMILIES)} if prose else set(_FAMILIES)
    return _judged_ids(text, gold_ids, families, partial)


def _judged_ids(text: str, gold: set[str], families: set[str], partial: bool) -> Verdict:
    answer = {identifier for _, identifier in _ids(text, families)}
    if not answer:
        return Verdict(score=0.0, reason=f"no {' or '.join(sorted(families))} id", tags=("no_answer",))
    right = len(answer & gold)
    match = SetMatch(precision=right / len(answer), recall=right / len(gold))
    return Verdict(
        score=match.f_half if partial else float(match.is_exact),
        parts=match.parts,
        parsed=" ".join(sorted(answer)[:20]),
        reason="equal" if match.is_exact else f"{right} of {len(gold)} ids, {len(answer) - right} others",
        tags=match.tags(answers=len(answer), golds=len(gold)),
    )


def _judged_vector(text: str, gold: str, partial: bool) -> Verdict:
    vectors = {match[0].removesuffix("/") for match in _vector_pattern(gold).finditer(text)}
    read = [_metrics(vector) for vector in vectors]
    if not vectors:
        return Verdict(score=0.0, reason="no CVSS vector", tags=("no_answer",))
    wanted = cast("Mapping[str, str]", _metrics(gold))
    answer = read[0]
    if answer is None or any(other != answer for other in read):
        reason = "several vectors" if len(vectors) > 1 else "not a CVSS vector"
        return Verdict(score=0.0, reason=reason, tags=("hedged",) if len(vectors) > 1 else ())
    vector = next(iter(vectors))
    names = wanted.keys() | answer.keys()
    agreeing = sum(wanted.get(name) == answer.get(name) for name in names) / len(names)
    nearness = 1 - abs(_base_score(vector) - _base_score(gold)) / 10
    same_version = wanted["version"] == answer["version"]
    score = float(answer == wanted) if not partial else agreeing * nearness * same_version
    return Verdict(
        score=score,
        parts={"metrics": agreeing, "base_score": nearness},
        parsed=vector,
        reason="equal" if answer == wanted else "another vector",
    )


def _without_findings(text: str) -> str:
    """Return the text without ids, vectors and the word `and`."""
    for pattern in (_VECTOR, _BARE_VECTOR, *_FAMILIES.values(), re.compile(r"(?i)\band\b")):
        text = pattern.sub(" ", text)
    return text


def _ids(text: str, families: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield family and normal form of each id in the text."""
    for family in families:
        for match in _FAMILIES[family].finditer(text):
            if family == "CVE":
                yield family, f"CVE-{match[1]}-{int(match[2]):04d}"
            elif family == "CWE":
                yield family, f"CWE-{int(match[1])}"
            else:
                yield family, match[0]


def _gold_texts(gold: object) -> list[str] | None:
    several = cast("Sequence[object]", gold) if isinstance(gold, list | tuple) else [gold]
    if not several or len(several) > LARGEST_GOLD or not all(isinstance(one, str) for one in several):
        return None
    return [_plain_hyphens(plain_characters(cast("str", one))).strip() for one in several]


def _all_are_ids(golds: list[str]) -> bool:
    return all(any(pattern.fullmatch(gold) for pattern in _FAMILIES.values()) for gold in golds)


def _gold_vector(golds: list[str] | None) -> str | None:
    if golds is None or len(golds) != 1 or _metrics(golds[0]) is None:
        return None
    return golds[0].removesuffix("/")


def _vector_pattern(gold: str) -> re.Pattern[str]:
    return _VECTOR if gold.startswith("CVSS:") else _BARE_VECTOR


def _metrics(vector: str) -> dict[str, str] | None:
    """Return the defined metrics with the version; None if it is not a vector."""
    from cvss.exceptions import CVSSError

    if len(vector) > LONGEST_VECTOR:
        return None
    try:
        parsed = _parsed(vector.removesuffix("/"))
    except CVSSError:
        return None
    given: Mapping[str, str] = getattr(parsed, "original_metrics", None) or parsed.metrics
    version = vector.partition("/")[0] if vector.startswith("CVSS:") else "2"
    return {"version": version} | {name: value for name, value in given.items() if value not in ("X", "ND")}


def _base_score(vector: str) -> float:
    return float(_parsed(vector).scores()[0])


def _parsed(vector: str) -> Any:
    import cvss

    if vector.startswith("CVSS:4"):
        return cvss.CVSS4(vector)
    return cvss.CVSS3(vector) if vector.startswith("CVSS:") else cvss.CVSS2(vector)


def _plain_hyphens(text: str) -> str:
    return re.sub("[\u2010-\u2015]", "-", text)
