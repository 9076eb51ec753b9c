"""Speech transcripts, scored by one minus the word or character error rate (jiwer).

The normalisation `basic` folds case and drops punctuation, but leaves numerals as they are: `3.5`, `10:30` and `twenty`
are compared as written, because the data set decides how speech is written down.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal, cast

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

Unit = Literal["word", "character"]
Normalise = Literal["basic", "none"]
_MOST_WORDS_RATIO = 3
_KEPT_MARKS = frozenset("%&@#")

_REFERENCE = "the quick brown fox jumps over the lazy dog"
CASES = (
    Case(response="The quick brown fox jumps over the lazy dog.", gold=_REFERENCE, expect="accept"),
    Case(response="don\u2019t pay 3.5 %!", gold="Don't pay 3.5 %", expect="accept", note="marks inside words stay"),
    Case(response="hello world", gold=["hallo world", "hello world"], expect="accept", note="any of several"),
    Case(response="twenty-one", gold="twenty one", expect="accept", note="a hyphen is a space"),
    Case(response="", gold=_REFERENCE, expect="reject"),
    Case(response="I could not hear anything at all sorry", gold=_REFERENCE, expect="reject"),
    Case(response="pay 35", gold="pay 3.5", expect="reject", at_most=0.5, note="numerals are not touched"),
    Case(response="the quick brown fox", gold=_REFERENCE, expect="reject", at_most=0.5, note="the end is missing"),
    Case(response=f"{_REFERENCE} " * 3, gold=_REFERENCE, expect="adversarial", note="more errors than words"),
    Case(response=f"{_REFERENCE} " * 99, gold=_REFERENCE, expect="adversarial", note="a flood of insertions"),
    Case(response="the fox dog " * 9, gold=_REFERENCE, expect="adversarial", note="likely words, many times"),
    Case(response=f"{_REFERENCE} or a b c d e", gold=_REFERENCE, expect="adversarial", at_most=0.4, note="hedged"),
)


@verifier(name="asr.wer", version="2", extra="rewards", modules=("jiwer",), cases=CASES)
def wer(
    sample: Sample,
    *,
    where: Where = "whole_text",
    on_many: OnMany = "reject",
    unit: Unit = "word",
    normalise: Normalise = "basic",
    threshold: float = 0.0,
) -> Verdict:
    """One minus the error rate against the closest reference, at least 0.

    Args:
        sample: Its gold is the reference transcript, or a list of them.
        where: Place of the transcript in the response.
        on_many: Whether several different boxed transcripts are rejected or the last one counts.
        unit: Whether errors are counted in words or in characters.
        normalise: `basic` folds case and drops punctuation of both sides; `none` only applies the Unicode policy.
        threshold: Scores below this become 0.
    """
    references = _references(sample.gold, normalise=normalise)
    if not references:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a transcript with words")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    longest = max(references, key=len)
    # Checked before the normalisation, whose cost grows with the text.
    if len(found.text) > 10 * len(longest) + 200:
        return Verdict(score=0.0, reason="far longer than the reference", tags=("stuffed",))
    answer = _normal(found.text, normalise=normalise)
    if not answer:
        return Verdict(score=0.0, reason="no words", tags=("no_answer",))
    if len(answer.split()) > _MOST_WORDS_RATIO * len(longest.split()) + 10:
        return Verdict(score=0.0, parsed=answer, reason="far more words than the reference", tags=("stuffed",))
    parts = min(
        (_errors(answer, reference, unit=unit) for reference in references), key=lambda each: each["error_rate"]
    )
    score = max(0.0, 1.0 - parts["error_rate"])
    score = score if score >= threshold else 0.0
    return Verdict(score=score, parts=parts, parsed=answer, reason=f"error rate {parts['error_rate']:.3f}")


def _errors(answer: str, reference: str, *, unit: Unit) -> dict[str, float]:
    """The error rate and its three components, each as a share of the reference's length."""
    import jiwer

    output = (jiwer.process_words if unit == "word" else jiwer.process_characters)(reference, answer)
    length = output.hits + output.substitutions + output.deletions
    return {
        "error_rate": (output.substitutions + output.deletions + output.insertions) / length,
        "substitutions": output.substitutions / length,
        "deletions": output.deletions / length,
        "insertions": output.insertions / length,
    }


def _references(gold: object, *, normalise: Normalise) -> list[str]:
    """Return all references, normalised; empty if one cannot be read."""
    several = cast("Sequence[object]", gold) if isinstance(gold, list | tuple) else [gold]
    if not all(isinstance(one, str) for one in several):
        return []
    references = [_normal(cast("str", one), normalise=normalise) for one in several]
    return references if all(references) else []


def _normal(text: str, *, normalise: Normalise) -> str:
    text = plain_characters(text)
    if normalise == "basic":
        text = text.casefold().replace("\u2019", "'")
        text = "".join(" " if _is_dropped(text, index) else text[index] for index in range(len(text)))
    return " ".join(text.split())


def _is_dropped(text: str, index: int) -> bool:
    """Whether the character is punctuation outside numbers and words."""
    character = text[index]
    if not unicodedata.category(character).startswith("P") or character in _KEPT_MARKS:
        return False
    before, after = text[max(0, index - 1) : index], text[index + 1 : index + 2]
    if character in ".,:":
        return not (before.isdigit() and after.isdigit())
    return not (character == "'" and before.isalnum() and after.isalnum())
