"""Class labels: one or several from a known set. The Unicode policy is that of `rewards.extraction`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from rewards.answer_marks import boxes, labelled, tags
from rewards.extraction import Extracted, OnMany, Where, after_thinking, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_ANSWER = 10_000

_EDGES = " \t\n.!:;*_`'\"()[]{}<>\u2018\u2019\u201c\u201d"
_INTRODUCED = re.compile(
    r"(?i)(?:\b(?:is|are|was|were|be|as|'s|choose|pick|select|say|seems|expresses|express)\b|'s\b|\u2019s\b"
    r"|\b(?:labels?|sentiment|categor(?:y|ies)|class(?:es)?|classification|prediction|topics?|answer|intent|emotion|tone"
    r"|result|output|rating|tags?|review|text)\b[*_\"'`]*\s*[:=])\s*[:=]?\s*"
    r"(?:(?:an?|the|clearly|definitely|overall|most likely|likely|probably|very|strongly|mostly|certainly|simply|just"
    r"|label|labels|class|category|both|about)\s+)*"
)
"""Words before a label. The last of them ends the introduction."""
_NO_INTRODUCTION = re.compile(
    r"(?i)\b(?:not|never|neither|nor|none|if|unless|but|than|instead|maybe|perhaps|hardly|barely|except|without|cannot"
    r"|whether|ignore|reference|graders?)\b|n't|\?"
)
_TRAILING = re.compile(r"(?i)\s+(?:sentiment|label|category|class|topic|tone|emotion|intent)s?$")
_LONGEST_SENTENCE = 300
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+")
_ALTERNATIVE = re.compile(r"(?i)\b(?:or|either)\b")
_CONJUNCTION = re.compile(r"\s+(?:and|&)\s+")
_SLASH = re.compile(r"(?<![0-9])\s*/\s*(?![0-9])")
_DENIED = re.compile(r"(?i)(?:and\s+|but\s+)?(?:is\s+)?not\s+(?=\w)")
_DENIED_ASIDE = re.compile(r"(?i)\s*\((?:is\s+)?not\s+[^()]{1,60}\)\s*$")
_TURNED = re.compile(
    r"(?i)\b(?:actually|wait|however|correction|instead|rather|or|but|not|sorry|on second thought)\b|n't\b"
)
"""Words in an explanation by which it may take the label back."""
_PUNCTUATION = re.compile(r"[^\w\s-]")
_MOST_LABEL_WORDS = 4
_SENTIMENT = ("positive", "negative", "neutral")

CASES = (
    Case(response="Positive", gold="positive", expect="accept"),
    Case(response="Label: x\nAnswer: sports, politics", gold=["politics", "sports"], expect="accept"),
    Case(response='["research and development", "law"]', gold=["law", "research and development"], expect="accept"),
    Case(response="pos", gold="positive", params={"synonyms": {"pos": "positive"}}, expect="accept"),
    Case(response="sports and law", gold=["law", "sports"], expect="accept"),
    Case(response="The sentiment is positive.", gold="positive", expect="accept", note="a sentence that names it"),
    Case(response="- sports\n- law", gold=["law", "sports"], expect="accept", note="a list over several lines"),
    Case(response="positive, not negative", gold="positive", expect="accept"),
    Case(response="positive, not negative", gold="negative", expect="reject"),
    Case(response="negative", gold="positive", expect="reject"),
    Case(response="sports", gold=["politics", "sports"], expect="reject"),
    Case(response="glad", gold="positive", params={"labels": _SENTIMENT}, expect="reject", note="no such label"),
    Case(response="sports", gold=["politics", "sports"], params={"partial": True}, expect="reject", at_most=0.7),
    Case(response="positive or negative", gold="positive", expect="adversarial", note="hedged"),
    Case(response="positive, negative", gold="positive", expect="adversarial", note="two for one"),
    Case(
        response="positive, negative, neutral",
        gold=["positive", "negative"],
        params={"labels": _SENTIMENT, "partial": True},
        expect="adversarial",
        note="all labels there are",
    ),
    Case(response="not positive", gold="positive", expect="adversarial"),
    Case(response="The sentiment is not positive.", gold="positive", expect="adversarial"),
    Case(response="p\u043esitive", gold="positive", expect="adversarial", note="a Cyrillic letter"),
)


@verifier(name="label.set", version="3", isolation="inline", cases=CASES)
def label_set(
    sample: Sample,
    *,
    where: Where = "auto",
    on_many: OnMany = "reject",
    casefold: bool = True,
    partial: bool = False,
    labels: Sequence[str] = (),
    synonyms: Mapping[str, str] | None = None,
) -> Verdict:
    """1 when the answer names exactly the labels of the gold, otherwise 0; `parts` has precision and recall.

    An answer is one label, or several between commas, semicolons, bars, slashes, line breaks or `and`, or a JSON list.
    Introductory words (`Label:`, `The sentiment is`) are ignored, unless they negate the label or make it conditional;
    so are `, not negative` after a label, and an explanation below it that takes nothing back. Underscores and hyphens
    count as spaces.

    Args:
        sample: Its gold is a label or a list of labels; `meta.labels` may list all labels that exist.
        where: Place of the answer in the response; `whole_text` for a list over several lines.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        casefold: Whether case is ignored.
        partial: Give F1 as the score if the gold has several labels; naming all labels, or more than twice as many as
            the gold has, still gets 0.
        labels: All labels that exist; empty to allow any. `meta.labels` takes precedence.
        synonyms: Other name -> the label that it stands for.
    """
    names = {_folded(name, casefold): _folded(label, casefold) for name, label in (synonyms or {}).items()}
    gold = _texts(sample.gold, casefold=casefold)
    known = _texts(sample.meta.get("labels", list(labels)) or [], casefold=casefold)
    if not gold or known is None or (known and not gold <= known):
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a label, or not a known one")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if where == "auto":
        listed = _list_or_explained(sample.response, gold | known | set(names), casefold=casefold)
        found = found if listed is None else Extracted(text=listed)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    if len(found.text) > LONGEST_ANSWER:
        return Verdict(score=0.0, reason=f"longer than {LONGEST_ANSWER} characters", tags=("stuffed",))
    named = {names.get(item, item) for item in _items(found.text, gold | known | set(names), casefold=casefold)}
    parsed = ", ".join(sorted(named))[:200]
    right = len(named & gold)
    if not named:
        return Verdict(score=0.0, reason="no label", tags=("no_answer",))
    parts = {"precision": right / len(named), "recall": right / len(gold)}
    if named == gold:
        return Verdict(score=1.0, parsed=parsed, parts=parts, reason="equal")
    if known and not named <= known:
        return Verdict(score=0.0, parsed=parsed, parts=parts, reason="not a known label")
    if named == known or len(named) > 2 * len(gold):
        return Verdict(score=0.0, parsed=parsed, parts=parts, reason="too many labels", tags=("stuffed",))
    if _ALTERNATIVE.search(found.text):
        return Verdict(score=0.0, parsed=parsed, parts=parts, reason="alternatives", tags=("hedged",))
    share = 2 * right / (len(named) + len(gold)) if partial and len(gold) > 1 else 0.0
    return Verdict(score=share, parsed=parsed, parts=parts, reason="other labels")


def _list_or_explained(response: str, known: set[str], *, casefold: bool) -> str | None:
    """Return the labels of an unmarked answer that is a list over several lines, or labels with an explanation below;
    None for any other answer.
    """
    text = after_thinking(response).strip()
    if "\n" not in text or len(text) > LONGEST_ANSWER or boxes(text).marks or tags(text).marks or labelled(text):
        return None
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    lines = lines[1:] if lines[0].endswith(":") and len(lines) > 1 else lines
    if all(_BULLET.match(line) and len(line.split()) <= 1 + _MOST_LABEL_WORDS for line in lines):
        return "\n".join(lines)
    if all(len(line.split()) < _MOST_LABEL_WORDS and not line.endswith((".", "!")) for line in lines):
        return "\n".join(lines)
    first, rest = lines[0], " ".join(lines[1:])
    items = _items(first, known, casefold=casefold)
    if not items or not set(items) <= known or _TURNED.search(rest) is not None:
        return None
    words = f" {_folded(_PUNCTUATION.sub(' ', rest), casefold)} "
    return None if any(f" {label} " in words for label in known - set(items)) else first


def _items(text: str, known: set[str], *, casefold: bool) -> list[str]:
    """Return the labels of an answer, folded; `and` separates labels unless the whole item is a label."""
    listed = _json_list(text)
    if listed is not None:
        return [item for item in (_folded(one, casefold) for one in listed) if item]
    whole = _folded(text, casefold)
    if whole in known:
        return [whole]
    items = _split(text, known, casefold=casefold)
    if items and set(items) <= known:
        return items
    introduced = _introduced(text)
    read = _split(introduced, known, casefold=casefold) if introduced else []
    return read if read and set(read) <= known else items


def _split(text: str, known: set[str], *, casefold: bool) -> list[str]:
    items: list[str] = []
    pieces = re.split(r"[,;|\n]", text)
    for piece in (_DENIED_ASIDE.sub("", one) for one in pieces):
        if len(pieces) > 1 and _DENIED.match(piece.strip()) is not None and _folded(piece, casefold) not in known:
            continue
        item = _folded(_BULLET.sub("", piece), casefold).removeprefix("and ")
        bare = _TRAILING.sub("", item)
        if item in known or bare in known:
            items.append(item if item in known else bare)
        else:
            items += [_folded(part, casefold) for whole in _SLASH.split(item) for part in _CONJUNCTION.split(whole)]
    return [item for item in items if item]


def _introduced(text: str) -> str | None:
    """Return the text after the words that introduce a label; None if the sentence has other words."""
    found = list(_INTRODUCED.finditer(text[:_LONGEST_SENTENCE]))
    if not found or len(text) > _LONGEST_SENTENCE or _NO_INTRODUCTION.search(text[: found[-1].end()]):
        return None
    return text[found[-1].end() :]


def _json_list(text: str) -> list[str] | None:
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    items = cast("list[object]", value)
    return [item for item in items if isinstance(item, str)] if all(isinstance(item, str) for item in items) else None


def _texts(value: object, *, casefold: bool) -> set[str] | None:
    """Return the folded texts of a label or a list of labels; None if it is neither."""
    several = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str | int) for one in several):
        return None
    folded = {_folded(str(one), casefold) for one in several}
    return None if "" in folded else folded


def _folded(text: str, casefold: bool) -> str:
    plain = " ".join(re.sub(r"(?<=\w)[_-](?=\w)", " ", plain_characters(text).strip(_EDGES)).split())
    return plain.casefold() if casefold else plain
