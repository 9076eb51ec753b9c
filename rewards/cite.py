r"""Citations in brackets, such as `[1]`, `[1, 3]` or `[doc-a]`, of the sources that a row lists.

`meta.sources` lists the existing ids; the gold lists those that the answer must cite.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, cast

from pydantic import Field

from rewards.extraction import after_thinking, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

_BRACKET = re.compile(r"\[([^\[\]\n]{1,200})\](?!\()")
_NO_CITATIONS = frozenset(("sic", "...", "\u2026", "x", ""))
_SOURCES = {"sources": ["1", "2", "3"]}

CASES = (
    Case(response="Water boils at 100 degrees at sea level [1].", gold=["1"], meta=_SOURCES, expect="accept"),
    Case(response="It boils at 100 degrees [1], less up high [3].", gold=[1, 3], meta=_SOURCES, expect="accept"),
    Case(
        response="Both reviews agree that it is safe [a; b].",
        gold=["a", "b"],
        meta={"sources": [{"id": "a", "text": "..."}, {"id": "b", "text": "..."}]},
        expect="accept",
    ),
    Case(
        response="Water boils at 100 degrees at sea level [1][2].",
        gold=["1"],
        meta=_SOURCES,
        params={"threshold": 0.5},
        expect="accept",
        note="half of the citations may be extra",
    ),
    Case(response="Water boils at 100 degrees at sea level.", gold=["1"], meta=_SOURCES, expect="reject"),
    Case(response="Water boils at 100 degrees at sea level [2].", gold=["1"], meta=_SOURCES, expect="reject"),
    Case(response="It boils at 100 degrees [1], less up high.", gold=["1", "3"], meta=_SOURCES, expect="reject"),
    Case(
        response="It boils at 100 degrees [1], less up high.",
        gold=["1", "3"],
        meta=_SOURCES,
        params={"partial": True},
        expect="reject",
        at_most=0.7,
    ),
    Case(response="[1]", gold=["1"], meta=_SOURCES, expect="adversarial", note="nothing but a citation"),
    Case(
        response="Water boils at 100 degrees [1][9].",
        gold=["1"],
        meta=_SOURCES,
        expect="adversarial",
        note="no such source",
    ),
    Case(
        response="Water boils at 100 degrees [1] [2] [3].",
        gold=["1"],
        meta=_SOURCES,
        expect="adversarial",
        note="all of them",
    ),
    Case(
        response="Water boils at 100 degrees [1][2][3].",
        gold=["1", "2"],
        meta=_SOURCES,
        params={"partial": True},
        expect="adversarial",
        note="all of them",
    ),
    Case(response="Water boils at 100 degrees [1] [Smith 2020].", gold=["1"], meta=_SOURCES, expect="adversarial"),
    Case(response="\u200b \u200b . , ; - \u200b [1]", gold=["1"], meta=_SOURCES, expect="adversarial", note="no words"),
)


@verifier(name="cite.sources", version="2", isolation="inline", requires=("gold", "sources"), cases=CASES)
def sources(
    sample: Sample,
    *,
    threshold: Annotated[float, Field(ge=0, le=1)] = 1.0,
    partial: bool = False,
    least_words: Annotated[int, Field(ge=1)] = 4,
) -> Verdict:
    """1 when the response cites all required sources, no invented source, and few others; otherwise 0.

    `parts` has precision (required ids among the cited) and recall (cited ids among the required). The verifier does
    not check which statement a citation supports: combine it with a verifier of the answer.

    Args:
        sample: Its gold is the required id or a list of ids, empty if any source will do; `meta.sources` is a list of
            ids, a list of objects with an `id`, or a mapping whose keys are ids.
        threshold: Smallest precision of an answer that gets the full score.
        partial: Give F1 of the citations as the score, if no source was invented and not all sources were cited.
        least_words: A response with fewer words besides its citations gets 0.
    """
    known, gold = _ids(sample.meta["sources"]), _ids(sample.gold)
    if not known or gold is None or not gold <= known:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} names no ids of `sources`")
    text = plain_characters(after_thinking(sample.response))
    cited = frozenset(item for bracket in _BRACKET.findall(text) for item in _items(bracket, known))
    if not cited:
        return Verdict(score=0.0, reason="nothing is cited", tags=("no_answer",))
    parsed = ", ".join(sorted(cited))[:200]
    words = sum(any(map(str.isalnum, word)) for word in _BRACKET.sub(" ", text).split())
    right = len(cited & gold) if gold else len(cited & known)
    parts = {"precision": right / len(cited), "recall": len(cited & gold) / len(gold) if gold else 1.0}
    if words < least_words:
        return Verdict(score=0.0, parsed=parsed, parts=parts, reason="nothing but citations", tags=("stuffed",))
    if not cited <= known:
        invented = sorted(cited - known)[0]
        return Verdict(score=0.0, parsed=parsed, parts=parts, reason=f"there is no source {invented:.50}")
    if parts["recall"] == 1 and parts["precision"] >= threshold:
        return Verdict(score=1.0, parsed=parsed, parts=parts, reason="cited")
    if cited == known and len(known) > 1:
        return Verdict(score=0.0, parsed=parsed, parts=parts, reason="all sources there are", tags=("stuffed",))
    total = parts["precision"] + parts["recall"]
    share = 2 * parts["precision"] * parts["recall"] / total if partial and total else 0.0
    reason = "a required source is not cited" if parts["recall"] < 1 else "too many other sources"
    return Verdict(score=share, parsed=parsed, parts=parts, reason=reason)


def _items(bracket: str, known: frozenset[str]) -> list[str]:
    """Return the ids in one pair of brackets, without brackets that are not meant as citations."""
    if _id(bracket) in known:
        return [_id(bracket)]
    items = [_id(item) for item in re.split(r"[,;]", bracket)]
    return [item for item in items if item not in _NO_CITATIONS]


def _ids(value: object) -> frozenset[str] | None:
    """Return the ids of a list or mapping; None if it is neither, or if an id cannot be read."""
    if isinstance(value, Mapping):
        several: Sequence[object] = list(cast("Mapping[object, object]", value))
    elif isinstance(value, list | tuple):
        several = cast("Sequence[object]", value)
    else:
        several = [value]
    plain = [cast("Mapping[str, object]", one).get("id") if isinstance(one, Mapping) else one for one in several]
    if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in plain):
        return None
    ids = frozenset(_id(str(one)) for one in plain)
    return None if "" in ids else ids


def _id(text: str) -> str:
    return " ".join(plain_characters(text).casefold().split()).removeprefix("^")
