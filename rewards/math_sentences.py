"""Sentences that say a mathematical answer outside of a box, such as "Thus, the area is 36 pi square units"."""

from __future__ import annotations

import re

from rewards.number_reading import REFUSAL
from rewards.unit_names import unit_name

LONGEST = 300
_LEAD = re.compile(
    r"(?i)^(?:so|thus|hence|therefore|then|finally|consequently|in conclusion|we conclude(?: that)?|it follows that)\b"
    r"[,:]?\s*"
)
_WORD = (
    r"(?!(?:not|if|or|unless|suppose|cannot|whether|half|twice|minus|negative|than|least|most|maybe)\b|\w+n't)"
    r"[A-Za-z'-]+"
)
_NAME = r"\$?[A-Za-z]\$?"
_PHRASE = re.compile(
    rf"(?i)^(?:the|our|its|this|we|it|there|all|a|an)\b(?:\s+(?:{_WORD}|{_NAME})){{0,12}}?"
    r"\s+(?:is|are|equals?|get|have|obtain|find|becomes)"
    r"(?:\s+(?:equal to|that|exactly|simply|just|now|therefore|given by))?\s*:?\s+"
)
_WORDS_BEHIND = re.compile(r"(?<=[\d$}\s)])\s*\b([a-z]+(?:[ /][a-z]+){0,3})$")


def answer_in_sentence(line: str) -> str | None:
    """Return what stands behind "Thus", "we get" or "the area is"; None if a line is no such sentence, or refuses."""
    text = line.strip().removesuffix(".")
    if len(text) > LONGEST or text.endswith("?") or REFUSAL.search(text):
        return None
    said = _PHRASE.sub("", _LEAD.sub("", text), count=1)
    if said == text:
        return None
    words = _WORDS_BEHIND.search(said)
    if words is not None and words.start() > 0 and unit_name(words[1]) is not None:
        said = rf"{said[: words.start()]}\text{{{words[1]}}}"
    return said
