"""Named entities: entity-level F1 of the answer, a JSON list, against spans, mentions or BIO tags.

The gold decides what is compared: items with `start`, `end` and `label` as exact spans, items with `text` and `label`
as mentions, a list of texts as BIO tags (one per token, by seqeval). An answer cannot gain by repeating an entity (each
repeat is a false positive), by labelling one span twice (a hedge, unless the gold itself has overlapping spans), or by
listing every possible span (precision drops, and their number is limited).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, cast

from rewards.extraction import OnMany, plain_characters
from rewards.fenced_blocks import fenced_or_whole
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

Scheme = Literal["IOB2", "IOBES"]
Entity = tuple[int, int, str] | tuple[str, str]
_TAG = {"IOB2": re.compile(r"O|[BI]-\S+"), "IOBES": re.compile(r"O|[BIES]-\S+")}
_LARGEST_OFFSET = 10**9

_BIO = ["B-PER", "I-PER", "O", "B-LOC"]
_SPANS = [{"start": 0, "end": 10, "label": "PER"}, {"start": 20, "end": 25, "label": "LOC"}]
_MENTIONS = [{"text": "Acme Corp.", "label": "ORG"}]
_SPANS_TEXT = json.dumps(_SPANS)
CASES = (
    # This case comes first: a worker judges it at its start, which loads seqeval.
    Case(response='["B-PER", "I-PER", "O", "B-LOC"]', gold=_BIO, expect="accept"),
    Case(response=f"The entities:\n```json\n{_SPANS_TEXT}\n```", gold=_SPANS, expect="accept"),
    Case(response='[{"label": "ORG", "text": "Acme  Corp."}]', gold=_MENTIONS, expect="accept"),
    Case(response="[]", gold=[], expect="accept", note="a text without entities"),
    Case(response='["B-PER", "O", "O", "O"]', gold=_BIO, expect="reject", note="the person has two tokens"),
    Case(response='["B-PER", "I-PER", "O"]', gold=_BIO, expect="reject", note="a tag is missing"),
    Case(response='[{"start": 0, "end": 10, "label": "ORG"}]', gold=_SPANS, expect="reject"),
    Case(response="PER: John Smith", gold=_SPANS, expect="reject", note="not JSON"),
    Case(response="[]", gold=_SPANS, expect="reject"),
    Case(
        response=json.dumps([{"start": s, "end": s + n, "label": "PER"} for s in range(30) for n in range(1, 12)]),
        gold=_SPANS,
        expect="adversarial",
        note="every span there is",
    ),
    Case(
        response=json.dumps([{**span, "label": label} for span in _SPANS for label in ("PER", "LOC")]),
        gold=_SPANS,
        expect="adversarial",
        note="every label for each span",
    ),
    Case(response=json.dumps([_SPANS[0]] * 4), gold=_SPANS, expect="adversarial", at_most=0.34, note="one, repeated"),
    Case(response=f"```\n{_SPANS_TEXT}\n```\n```\n[]\n```", gold=_SPANS, expect="adversarial", note="hedged"),
    Case(response='["B-PER", "I-PER", "I-LOC", "B-LOC"]', gold=_BIO, expect="adversarial", note="an I without its B"),
    Case(response="[" * 100_000, gold=_BIO, expect="adversarial", note="nested without end"),
)


@verifier(name="ner.span", version="2", memory_mib=2048, extra="ner", modules=("seqeval",), cases=CASES)
def span(
    sample: Sample,
    *,
    on_many: OnMany = "reject",
    scheme: Scheme = "IOB2",
    casefold: bool = False,
    partial: bool = True,
) -> Verdict:
    """Entity-level F1 of the answer.

    Args:
        sample: Its gold is a list of `{start, end, label}`, of `{text, label}`, or of BIO tags; `end` is exclusive.
            The answer is a JSON list of the same form, alone or in a fenced block.
        on_many: Whether several different blocks are rejected or the last one counts.
        scheme: The tagging scheme, which marks where an entity begins and ends.
        casefold: Whether the case of labels and mentions is ignored.
        partial: Give F1 as the score; otherwise only a perfect answer scores.
    """
    gold: Any = sample.gold
    kind = _kind(gold)
    entities = _tags(gold, scheme=scheme) if kind == "tags" else _entities(gold, kind=kind, casefold=casefold)
    if entities is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {gold!r:.100} is not a list of entities or of {scheme} tags")
    found = fenced_or_whole(sample.response, languages=("json",), on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    try:
        answer: Any = json.loads(found.text)
    except (ValueError, RecursionError):
        return Verdict(score=0.0, reason="not JSON", tags=("no_answer",))
    if kind == "tags":
        parts = _tag_parts(answer, cast("list[str]", entities), scheme=scheme, casefold=casefold)
    else:
        parts = _entity_parts(answer, cast("list[Entity]", entities), kind=kind, casefold=casefold)
    if isinstance(parts, Verdict):
        return parts
    perfect = parts["f1"] == 1.0
    score = parts["f1"] if partial or perfect else 0.0
    return Verdict(score=score, parts=parts, parsed=found.text[:2000], reason="equal" if perfect else "not all equal")


def _kind(gold: object) -> Literal["tags", "span", "mention"]:
    items = cast("Sequence[object]", gold) if isinstance(gold, list | tuple) else ()
    if items and all(isinstance(item, str) for item in items):
        return "tags"
    return "mention" if items and isinstance(items[0], Mapping) and "text" in items[0] else "span"


def _tags(value: object, *, scheme: Scheme) -> list[str] | None:
    """Return the tags; None if one is not a tag, or an entity lacks its B (in IOBES, its E)."""
    if not isinstance(value, list | tuple):
        return None
    tags = cast("Sequence[object]", value)
    if not all(isinstance(tag, str) and _TAG[scheme].fullmatch(tag) for tag in tags):
        return None
    words = [cast("str", tag) for tag in tags]
    for before, tag in zip(["O", *words], [*words, "O"], strict=True):
        is_open = before[0] in "BI"
        goes_on = tag[0] in "IE"
        if goes_on and not (is_open and before[1:] == tag[1:]):
            return None
        if scheme == "IOBES" and is_open and not goes_on:
            return None
    return words


def _entities(value: object, *, kind: str, casefold: bool) -> list[Entity] | None:
    """Return the entities in order, with repeats; None if one cannot be read."""
    if not isinstance(value, list | tuple):
        return None
    entities = [_entity(item, kind=kind, casefold=casefold) for item in cast("Sequence[object]", value)]
    return None if None in entities else cast("list[Entity]", entities)


def _entity(item: object, *, kind: str, casefold: bool) -> Entity | None:
    if not isinstance(item, Mapping):
        return None
    fields = cast("Mapping[str, object]", item)
    label = fields.get("label")
    if not isinstance(label, str) or not label.strip():
        return None
    label = _folded(label, casefold=casefold)
    if kind == "mention":
        text = fields.get("text")
        return (_folded(text, casefold=casefold), label) if isinstance(text, str) and text.strip() else None
    start, end = fields.get("start"), fields.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= _LARGEST_OFFSET:
        return None
    return (start, end, label)


def _tag_parts(answer: object, gold: list[str], *, scheme: Scheme, casefold: bool) -> dict[str, float] | Verdict:
    tags = _tags(answer, scheme=scheme)
    if tags is None:
        return Verdict(score=0.0, reason=f"not a list of {scheme} tags")
    if len(tags) != len(gold):
        return Verdict(score=0.0, reason=f"{len(tags)} tags for {len(gold)} tokens")
    return _f1(
        _tagged_spans(tags, scheme=scheme, casefold=casefold), _tagged_spans(gold, scheme=scheme, casefold=casefold)
    )


def _tagged_spans(tags: list[str], *, scheme: Scheme, casefold: bool) -> Counter[tuple[int, int, str]]:
    from seqeval import scheme as schemes

    entities: list[Any] = schemes.Entities([tags], getattr(schemes, scheme)).entities[0]
    return Counter((entity.start, entity.end, _folded(entity.tag, casefold=casefold)) for entity in entities)


def _entity_parts(answer: object, gold: list[Entity], *, kind: str, casefold: bool) -> dict[str, float] | Verdict:
    entities = _entities(answer, kind=kind, casefold=casefold)
    if entities is None:
        return Verdict(score=0.0, reason="not a list of entities")
    if len(entities) > 4 * len(gold) + 10:
        return Verdict(score=0.0, reason=f"{len(entities)} entities where {len(gold)} are right", tags=("stuffed",))
    if kind == "span" and _overlap(set(entities)) and not _overlap(set(gold)):
        return Verdict(score=0.0, reason="overlapping spans", tags=("hedged",))
    return _f1(Counter(entities), Counter(gold))


def _overlap(entities: set[Entity]) -> bool:
    spans = sorted(cast("set[tuple[int, int, str]]", entities))
    return any(second[0] < first[1] for first, second in pairwise(spans))


def _f1(answer: Counter[Any], gold: Counter[Any]) -> dict[str, float]:
    """Precision, recall and F1 of two multisets; two empty ones agree."""
    if not answer and not gold:
        return {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    hits = (answer & gold).total()
    precision = hits / answer.total() if answer else 0.0
    recall = hits / gold.total() if gold else 0.0
    return {"precision": precision, "recall": recall, "f1": 2 * hits / (answer.total() + gold.total())}


def _folded(text: str, *, casefold: bool) -> str:
    text = " ".join(plain_characters(text).split())
    return text.casefold() if casefold else text
