"""The shape of a response, whatever it says: its length, its distance to the token limit, repetition. 1 is good.

These verifiers reward no answer by themselves; combine them with a verifier of the answer. Invisible characters
(zero-width, control and filler characters) do not count, so that padding neither adds length nor breaks up a
repetition. A response without visible characters gets 0.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Annotated, Literal

from pydantic import Field

from rewards.extraction import plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_WORD = 20
"""Longest word in characters; a longer word counts as its characters, so that omitting spaces hides no repetition."""
Count = Annotated[int, Field(ge=0)]

_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_TOKEN = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\\w+|[^\\w\\s]")

LENGTH_CASES = (
    Case(response="one two three four", params={"least": 3, "most": 5}, expect="accept"),
    Case(response="abcde", params={"unit": "characters", "least": 5, "most": 5}, expect="accept"),
    Case(response="text", params={"unit": "tokens", "least": 10}, meta={"token_count": 20}, expect="accept"),
    Case(response="one", params={"least": 3}, expect="reject"),
    Case(response="a b c d e f", params={"most": 5}, expect="reject", note="a hard edge without a ramp"),
    Case(response="a b c d e f", params={"most": 5, "ramp": 2}, expect="reject", at_most=0.5, note="half way down"),
    Case(response="", expect="reject"),
    Case(response="a \u200b \u200b b", params={"least": 3}, expect="adversarial", note="words that cannot be seen"),
    Case(response="a . , . ; - !", params={"least": 3}, expect="adversarial", note="words of punctuation"),
    Case(
        response="a" + " " * 100 + "\u3164" * 100,
        params={"unit": "characters", "least": 50, "most": 500},
        expect="adversarial",
        note="padded",
    ),
)
OVERLONG_CASES = (
    Case(
        response="text", meta={"token_count": 100}, params={"max_tokens": 1000, "buffer_tokens": 100}, expect="accept"
    ),
    Case(
        response="text", meta={"token_count": 900}, params={"max_tokens": 1000, "buffer_tokens": 100}, expect="accept"
    ),
    Case(response="text", meta={"token_count": 1000}, params={"max_tokens": 1000, "buffer_tokens": 0}, expect="accept"),
    Case(
        response="text", meta={"token_count": 1000}, params={"max_tokens": 1000, "buffer_tokens": 100}, expect="reject"
    ),
    Case(
        response="text",
        meta={"token_count": 950},
        params={"max_tokens": 1000, "buffer_tokens": 100},
        expect="reject",
        at_most=0.5,
        note="half way into the buffer",
    ),
    Case(response="text", meta={"token_count": 5000}, params={"max_tokens": 1000}, expect="reject"),
    Case(response="text", meta={"token_count": 10}, finish="length", expect="adversarial", note="cut off all the same"),
    Case(
        response="a b",
        meta={"token_count": 1001},
        params={"max_tokens": 1000, "buffer_tokens": 0},
        expect="adversarial",
    ),
    Case(response="\u200b", meta={"token_count": 1}, expect="adversarial", note="nothing to see"),
)
REPETITION_CASES = (
    Case(response="the quick brown fox jumps over the lazy dog", expect="accept"),
    Case(response="yes", expect="accept", note="too short to repeat itself"),
    Case(response="a b a b", params={"ngram": 3}, expect="accept"),
    Case(response="so it goes and so it goes and so it goes", params={"ngram": 3}, expect="reject", at_most=0.7),
    Case(response="spam spam spam spam spam spam", params={"ngram": 2}, expect="reject", at_most=0.2),
    Case(response="", expect="reject"),
    Case(response="ha" * 1000, expect="adversarial", at_most=0.01, note="without spaces"),
    Case(response="\u54c8" * 1000, expect="adversarial", at_most=0.01, note="a script without spaces"),
    Case(response="Spam spam SPAM \u200bspam " * 100, expect="adversarial", at_most=0.01),
    Case(response="spam. " * 500, expect="adversarial", at_most=0.01),
)


@verifier(name="shape.length", version="1", isolation="inline", requires=(), cases=LENGTH_CASES)
def length(
    sample: Sample,
    *,
    unit: Literal["words", "characters", "tokens"] = "words",
    least: Count = 1,
    most: Count = 512,
    ramp: Count = 0,
) -> Verdict:
    """1 if the length lies within [least, most]; it falls linearly to 0 at a distance of `ramp`.

    Args:
        sample: Needs no gold; for tokens, its `token_count`, or that of `meta`, must be known.
        unit: Words with a letter or digit; visible characters, where a run of white space counts as one; or tokens.
        least: Smallest length with score 1.
        most: Largest length with score 1.
        ramp: Distance outside this range at which the score reaches 0; 0 gives a hard edge.
    """
    if unit == "tokens":
        count = token_count(sample)
        if count is None:
            return Verdict(fault=Fault.GOLD, reason="the row has no token_count")
    else:
        text = _visible(sample.response)
        count = len(text) if unit == "characters" else sum(any(map(str.isalnum, word)) for word in text.split())
    outside = max(least - count, count - most, 0)
    if count == 0:
        return Verdict(score=0.0, reason="nothing to see", tags=("no_answer",))
    score = 1.0 if outside == 0 else max(0.0, 1 - outside / ramp) if ramp else 0.0
    return Verdict(score=score, parsed=str(count), reason=f"{count} {unit}")


@verifier(name="shape.overlong", version="1", isolation="inline", requires=(), cases=OVERLONG_CASES)
def overlong(sample: Sample, *, max_tokens: Count = 4096, buffer_tokens: Count = 512) -> Verdict:
    """Soft overlong punishment of DAPO (Yu et al. 2025, eq. 13), shifted up by one: 1 is good and 0 is too long.

    For L tokens: 1 up to max_tokens - buffer_tokens, then (max_tokens - L) / buffer_tokens, and 0 beyond max_tokens. A
    response that was cut off gets 0 at any length.

    Args:
        sample: Needs no gold; its `token_count`, or that of `meta` for rows from a file, must be known.
        max_tokens: Length at which the score is 0.
        buffer_tokens: Number of tokens over which the score falls to 0; 0 gives a hard edge.
    """
    count = token_count(sample)
    if count is None:
        return Verdict(fault=Fault.GOLD, reason="the row has no token_count")
    if count == 0 or not _visible(sample.response):
        return Verdict(score=0.0, reason="nothing to see", tags=("no_answer",))
    if sample.finish == "length":
        return Verdict(score=0.0, parsed=str(count), reason="cut off", tags=("truncated",))
    room = max_tokens - count
    score = min(1.0, max(0.0, room / buffer_tokens)) if buffer_tokens else float(room >= 0)
    return Verdict(score=score, parsed=str(count), reason=f"{count} of {max_tokens} tokens")


@verifier(name="shape.repetition", version="1", isolation="inline", requires=(), cases=REPETITION_CASES)
def repetition(sample: Sample, *, ngram: Annotated[int, Field(ge=1, le=64)] = 4) -> Verdict:
    """Share of the sequences of `ngram` words that do not repeat an earlier one; 1 means no repetition.

    Punctuation marks, characters of unspaced scripts, and the characters of words longer than `LONGEST_WORD` count as
    words; case does not matter.

    Args:
        sample: Needs no gold.
        ngram: Length of a sequence, in words; a text with fewer words repeats nothing.
    """
    words = _pieces(_visible(sample.response).casefold())
    if not words:
        return Verdict(score=0.0, reason="nothing to see", tags=("no_answer",))
    runs = len(words) - ngram + 1
    if runs <= 0:
        return Verdict(score=1.0, reason="too short to repeat itself")
    # Hashes are kept instead of the sequences, which would take hundreds of megabytes for one megabyte of text.
    different = len(set(map(hash, zip(*(islice(words, start, None) for start in range(ngram)), strict=False))))
    return Verdict(score=different / runs, reason=f"{runs - different} of {runs} runs are repetitions")


def token_count(sample: Sample) -> int | None:
    """Number of tokens of a response, as sampled or as stated in the row; None if neither is known."""
    count = sample.token_count or sample.meta.get("token_count")
    if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
        return count
    return None if sample.response else 0


def _visible(text: str) -> str:
    return " ".join(_UNSEEN.sub("", plain_characters(text)).split())


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    for token in _TOKEN.findall(text):
        if len(token) > LONGEST_WORD:
            pieces.extend(token)
        else:
            pieces.append(token)
    return pieces
