"""Text answers by similarity: word overlap as in SQuAD, and edit distance. Unicode policy: see `rewards.extraction`.

Similarity rewards nearly right answers, so both verifiers first reject texts that only look similar: alternatives, the
gold repeated, and text far longer than the gold. If a single character decides (a number, a `not`), it must be the
same.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, cast

from pydantic import Field

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_GOLD = 10_000
"""Longest gold in characters; bounds the edit distance, whose time is the product of both lengths, to a few
milliseconds."""
SHORT_GOLD = 4
"""Up to this many characters, similarity means nothing, so that only the gold itself is accepted."""
Share = Annotated[float, Field(ge=0, le=1)]

_ARTICLES = frozenset(("a", "an", "the"))
_DENIALS = frozenset(("not", "no", "never", "without", "neither", "nor", "none", "cannot"))
_KEPT = re.compile(r"(?<=\d)[./:-](?=\d)|(?<!\w)-(?=\.?\d)|(?<!\w)\.(?=\d)|(?<=[a-z])(?:\+\+|#)(?!\w)")
"""Punctuation that distinguishes answers: 3.5, -5, c++."""
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
"""Scripts that are written without spaces: each of their characters is a word."""

F1_CASES = (
    Case(response="The Eiffel Tower.", gold="Eiffel Tower", expect="accept", note="articles and punctuation"),
    Case(response="NYC", gold=["New York", "NYC"], expect="accept", note="the best of several golds"),
    Case(response="\u6771\u4eac\u90fd", gold="\u6771\u4eac\u90fd", expect="accept"),
    Case(response="Eiffel Tower in Paris", gold="Eiffel Tower", expect="reject", at_most=0.7, note="in part"),
    Case(response="London", gold="Paris", expect="reject"),
    Case(response="", gold="Paris", expect="reject"),
    Case(response="35", gold="3.5", expect="reject", note="a decimal point is no mere punctuation"),
    Case(response="-5", gold="5", expect="reject"),
    Case(response="Paris or London", gold="Paris", expect="adversarial", note="hedged"),
    Case(response="Paris Paris Paris", gold="Paris", expect="adversarial", note="stuffed"),
    Case(response="Paris London Rome Berlin Madrid Oslo Bern", gold="Paris", expect="adversarial", note="stuffed"),
    Case(response="the a an the", gold="the Who", expect="adversarial", note="articles only"),
)
FUZZY_CASES = (
    Case(response="Wolfgang Amadeus Mozzart", gold="Wolfgang Amadeus Mozart", expect="accept", note="a slip"),
    Case(response="  wolfgang amadeus MOZART ", gold="Wolfgang Amadeus Mozart", expect="accept"),
    Case(response="acetylsalicylic acid", gold=["aspirin", "acetylsalicylic acid"], expect="accept"),
    Case(response="Johann Sebastian Bach", gold="Wolfgang Amadeus Mozart", expect="reject"),
    Case(response="the treaty of 1946", gold="the treaty of 1945", expect="reject", note="numbers must be the same"),
    Case(response="cat", gold="car", expect="reject", note="a short gold has no neighbours"),
    Case(
        response="the drug is not toxic in children at this dose",
        gold="the drug is toxic in children at this dose",
        expect="reject",
    ),
    Case(response="Wolfgang Amadeus Mozart or Bach", gold="Wolfgang Amadeus Mozart", expect="adversarial"),
    Case(response="Mozart " * 500, gold="Wolfgang Amadeus Mozart", expect="adversarial", note="stuffed"),
    Case(
        response="Wolfg\u0430ng \u0410m\u0430deus M\u043ez\u0430rt",
        gold="Wolfgang Amadeus Mozart",
        expect="adversarial",
    ),
    Case(response="W" * 23, gold="Wolfgang Amadeus Mozart", expect="adversarial"),
)


@verifier(name="text.f1", version="2", isolation="inline", cases=F1_CASES)
def f1(
    sample: Sample,
    *,
    where: Where = "whole_text",
    on_many: OnMany = "reject",
    threshold: Share = 0.0,
    longest_ratio: Annotated[float, Field(ge=1)] = 3.0,
) -> Verdict:
    """F1 of the words of answer and gold, the best over all golds; `parts` has precision, recall and exact.

    Words are compared as in SQuAD (Rajpurkar et al. 2016): as multisets, without case, punctuation and articles. Unlike
    SQuAD, punctuation that changes a number is kept, and characters of unspaced scripts are words.

    Args:
        sample: Its gold is a text, a number, or a list of them.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        threshold: F1 below this becomes 0.
        longest_ratio: An answer with more than this many times the gold's words, and at least 4 more, gets 0.
    """
    gold_words = [_words_of_gold(gold) for gold in _several(sample.gold)]
    if not gold_words or not all(gold_words):
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not text or a list of texts")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    answer = _words(_lowered(found.text))
    verdicts = [_overlap(answer, gold, longest_ratio=longest_ratio) for gold in gold_words]
    best = max(verdicts, key=lambda verdict: verdict.score or 0.0)
    if best.score is not None and best.score < threshold:
        best = Verdict(score=0.0, parts=best.parts, reason=f"F1 {best.score:.2f} is under {threshold:g}")
    return Verdict(score=best.score, parts=best.parts, parsed=found.text[:200], reason=best.reason, tags=best.tags)


@verifier(
    name="text.fuzzy", version="2", isolation="inline", extra="rewards", modules=("rapidfuzz",), cases=FUZZY_CASES
)
def fuzzy(
    sample: Sample,
    *,
    where: Where = "whole_text",
    on_many: OnMany = "reject",
    threshold: Share = 0.9,
    partial: bool = False,
) -> Verdict:
    """1 when the answer is a near spelling of the gold (or of one of a list of golds), otherwise 0.

    Near is measured by the normalised insertion and deletion similarity of rapidfuzz, after folding case and white
    space. Numbers and negations of both must be the same, and a gold of up to `SHORT_GOLD` characters must be met
    exactly.

    Args:
        sample: Its gold is a text, a number, or a list of them.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        threshold: Smallest similarity, in [0, 1].
        partial: Give the similarity itself as the score once it reaches the threshold.
    """
    from rapidfuzz import fuzz

    golds = gold_texts(sample.gold)
    if not golds or any(len(gold) > LONGEST_GOLD for gold in golds):
        wanted = f"text, or a list of texts, of up to {LONGEST_GOLD} characters"
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not {wanted}")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    if len(found.text) > 2 * max(map(len, golds)) + 20:
        return Verdict(score=0.0, reason="far longer than the gold", tags=("stuffed",))
    answer = _folded(found.text)
    if answer in golds:
        return Verdict(score=1.0, parsed=answer, reason="equal", parts={"similarity": 1.0})
    best, reason = 0.0, "another text"
    for gold in golds:
        similarity = fuzz.ratio(answer, gold) / 100
        barrier = _barrier(answer, gold) if similarity >= threshold else None
        if barrier is not None:
            reason = barrier
        elif similarity > best:
            best = similarity
    parts = {"similarity": best}
    if best < threshold:
        tags = ("hedged",) if reason == "alternatives" else ()
        return Verdict(score=0.0, parsed=answer, reason=reason, parts=parts, tags=tags)
    return Verdict(score=best if partial else 1.0, parsed=answer, reason="near", parts=parts)


def gold_texts(gold: object) -> list[str]:
    """Return all accepted texts, folded; empty if none can be read."""
    folded = [_folded(one) for one in _several(gold)]
    return folded if all(folded) else []


def _several(gold: object) -> list[str]:
    several = cast("Sequence[object]", gold) if isinstance(gold, list | tuple) else [gold]
    return [str(one) for one in several] if all(isinstance(one, str | int | float) for one in several) else []


def _overlap(answer: list[str], gold: Sequence[str], *, longest_ratio: float) -> Verdict:
    if not answer:
        return Verdict(score=0.0, reason="no words", tags=("no_answer",))
    if answer == list(gold):
        return Verdict(score=1.0, parts={"precision": 1.0, "recall": 1.0, "exact": 1.0}, reason="equal")
    if "or" in answer and "or" not in gold:
        return Verdict(score=0.0, reason="alternatives", tags=("hedged",))
    if len(answer) > max(longest_ratio * len(gold), len(gold) + 4):
        return Verdict(score=0.0, reason="far longer than the gold", tags=("stuffed",))
    answer_counts, gold_counts = Counter(answer), Counter(gold)
    if all(answer_counts[word] >= 2 * count for word, count in gold_counts.items()):
        return Verdict(score=0.0, reason="the gold more than once", tags=("stuffed",))
    shared = sum((answer_counts & gold_counts).values())
    precision, recall = shared / len(answer), shared / len(gold)
    score = 2 * precision * recall / (precision + recall) if shared else 0.0
    parts = {"precision": precision, "recall": recall, "exact": 0.0}
    return Verdict(score=score, parts=parts, reason="shared words" if shared else "no shared word")


def _barrier(answer: str, gold: str) -> str | None:
    """Say why a text that is similar to the gold is still not the gold; None if it may be."""
    if len(gold) <= SHORT_GOLD:
        return "a short gold must be met exactly"
    if _NUMBER.findall(answer) != _NUMBER.findall(gold):
        return "another number"
    answer_words, gold_words = answer.split(), gold.split()
    if "or" in answer_words and "or" not in gold_words:
        return "alternatives"
    if _denials(answer_words) != _denials(gold_words):
        return "a negation more or less"
    return None


def _denials(words: Sequence[str]) -> int:
    return sum(word.strip(".,;:!?") in _DENIALS or word.endswith("n't") for word in words)


def _folded(text: str) -> str:
    return " ".join(plain_characters(text).casefold().split())


def _lowered(plain: str) -> str:
    return " ".join(plain.casefold().split())


@lru_cache(maxsize=4096)
def _words_of_gold(gold: str) -> tuple[str, ...]:
    return tuple(_words(_folded(gold)))


def _words(folded: str) -> list[str]:
    """Return the words without punctuation and articles; only the articles, if there is nothing else."""
    if not folded.isascii():
        folded = _UNSPACED.sub(r" \1 ", folded)
    kept = _KEPT.sub(lambda match: "".join(chr(0xE000 + ord(character)) for character in match[0]), folded)
    words = kept.translate(_PUNCTUATION).split()
    return [word for word in words if word not in _ARTICLES] or words


class _Punctuation(dict[int, int | None]):
    """A lazily filled table for `str.translate` that drops all Unicode punctuation and ASCII symbols."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        self[code] = None if category[0] == "P" or (code < 128 and category[0] == "S") else code
        return self[code]


_PUNCTUATION = _Punctuation()
