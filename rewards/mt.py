"""Translations, scored by chrF of the answer against the references (sacrebleu).

chrF (Popovic 2015) rewards text that the source shares with the reference, such as names. If `meta.source` is given, a
copy of the source gets 0, and so does a text that is nearly the source and closer to it than to every reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

_NEARLY_A_COPY = 0.8
"""Smallest chrF against the source at which a text counts as a copy of it."""

_SOURCE = "Der Hund schläft im Garten."
_REFERENCE = "The dog is sleeping in the garden."
CASES = (
    Case(response=_REFERENCE, gold=_REFERENCE, meta={"source": _SOURCE}, expect="accept"),
    Case(response="The dog sleeps outside.", gold=[_REFERENCE, "The dog sleeps outside."], expect="accept"),
    Case(response=rf"\boxed{{{_REFERENCE}}}", gold=_REFERENCE, params={"where": "auto"}, expect="accept"),
    Case(response="Siemens AG", gold="Siemens AG", meta={"source": "Siemens AG"}, expect="accept", note="a name stays"),
    Case(response="", gold=_REFERENCE, expect="reject"),
    Case(response="Stock prices fell sharply.", gold=_REFERENCE, expect="reject", at_most=0.25),
    Case(response="The dog", gold=_REFERENCE, expect="reject", at_most=0.35, note="half of it"),
    Case(response=_SOURCE, gold=_REFERENCE, meta={"source": _SOURCE}, expect="adversarial", note="the source"),
    Case(
        response="der hund schläft im Garten!",
        gold=_REFERENCE,
        meta={"source": _SOURCE},
        expect="adversarial",
        note="nearly the source",
    ),
    Case(response=f"{_REFERENCE} " * 9, gold=_REFERENCE, expect="adversarial", note="stuffed"),
    Case(
        response="the of and to in is that it was for on are as with they be at",
        gold=_REFERENCE,
        expect="adversarial",
        at_most=0.3,
        note="frequent words",
    ),
)


@verifier(name="mt.chrf", version="2", extra="rewards", modules=("sacrebleu",), cases=CASES)
def chrf(
    sample: Sample,
    *,
    where: Where = "whole_text",
    on_many: OnMany = "reject",
    word_order: int = 0,
    threshold: float = 0.0,
) -> Verdict:
    """ChrF / 100 against the references; 0 for a copy of the source.

    Args:
        sample: Its gold is a reference, or a list of them; `meta.source` may hold the text to translate.
        where: Place of the translation in the response.
        on_many: Whether several different boxed translations are rejected or the last one counts.
        word_order: 0 for chrF, 2 for chrF++.
        threshold: Scores below this become 0.
    """
    references = _references(sample.gold)
    if not references:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a text or a list of texts")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    answer = _spaced(found.text)
    if len(answer) > 3 * max(map(len, references)) + 50:
        return Verdict(score=0.0, reason="far longer than the reference", tags=("stuffed",))
    score = _chrf(answer, references, word_order=word_order)
    source = sample.meta.get("source")
    if isinstance(source, str) and _is_copy(answer, _spaced(source), score=score, word_order=word_order):
        return Verdict(score=0.0, parsed=answer, reason="a copy of the source", tags=("copied",))
    return Verdict(score=score if score >= threshold else 0.0, parsed=answer, reason=f"chrF {100 * score:.1f}")


def _is_copy(answer: str, source: str, *, score: float, word_order: int) -> bool:
    if not source or len(answer) > 3 * len(source) + 50:
        return False
    copied = _chrf(answer.casefold(), [source.casefold()], word_order=word_order)
    return copied >= _NEARLY_A_COPY and copied > score


def _chrf(answer: str, references: Sequence[str], *, word_order: int) -> float:
    from sacrebleu import sentence_chrf

    return min(1.0, max(0.0, sentence_chrf(answer, references, word_order=word_order).score / 100))


def _references(gold: object) -> list[str]:
    """Return all references; empty if one cannot be read."""
    several = cast("Sequence[object]", gold) if isinstance(gold, list | tuple) else [gold]
    if not all(isinstance(one, str) for one in several):
        return []
    references = [_spaced(cast("str", one)) for one in several]
    return references if all(references) else []


def _spaced(text: str) -> str:
    return " ".join(plain_characters(text).split())
