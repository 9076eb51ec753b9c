"""Checks, without a model and before any training, whether a data set and a reward fit each other.

Each gold is submitted as the answer to its own row, which must be rewarded, and to some other rows, which must not. The
audit also finds golds that cannot be read, equal prompts with contradicting golds, and duplicate rows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from rlpost.records import Fault, Sample, Verdict
from rlpost.score_comparison import reaches
from rlpost.workbench.answers import placed, text_of

Judged = Callable[[Sequence[Sample]], list[Verdict]]
PLACES = ("whole_text", "last_boxed")
"""Places where the gold is put if the caller does not say where the reward reads the answer: bare, and in a box."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRow:
    """A row of the data set."""

    sample: Sample
    """The row as a sample; its response is a reference answer if the data set has one, else empty."""
    group: str
    """The same text for all rows with the same prompt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """A gold that was rewarded as the answer to another row."""

    row: str
    answer_of: str
    answer: str
    gold: Any
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that should not be trained on."""

    id: str
    reason: str
    verifier: str
    gold: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReport:
    """The findings of an audit."""

    rows: int
    asked: int
    """Rows whose gold, or reference answer, could be submitted as an answer."""
    unreadable: tuple[BadRow, ...]
    unpaid: tuple[BadRow, ...]
    """Rows whose own gold does not get the score that a right answer must get."""
    broken: tuple[BadRow, ...]
    """Rows on which the verifier broke or its service was missing; the audit knows nothing about them."""
    conflicting: tuple[BadRow, ...]
    """Rows with the same prompt whose golds are not rewarded for each other."""
    crossed: int
    """Pairs of rows whose golds were tried on each other."""
    crossings: tuple[Crossing, ...]
    """Pairs that were rewarded in one direction only, or between many rows: the verifier is too lenient."""
    equivalent: int
    """Pairs that were rewarded in both directions: the same gold, written differently."""
    duplicates: int
    """Rows that repeat the prompt and gold of an earlier row; not an error, but each counts twice in training."""

    @property
    def quarantined(self) -> tuple[BadRow, ...]:
        """Rows that should not be trained on, without repetition."""
        bad = {row.id: row for row in (*self.conflicting, *self.unpaid, *self.unreadable)}
        return tuple(bad.values())

    @property
    def clean(self) -> bool:
        """Whether the audit found no problem."""
        return not (self.quarantined or self.broken or self.crossings)


def audit(
    rows: Sequence[AuditRow], judged: Judged, *, where: str | None, least: float, others: int, seed: int
) -> AuditReport:
    """Judge golds as answers.

    Args:
        rows: The data set.
        judged: The reward.
        where: Where the reward reads the answer; None tries all of `PLACES` and takes the best.
        least: Score that a right answer must reach; a wrong one must stay below.
        others: Number of other rows whose golds are tried on each row.
        seed: Seed for the choice of these rows.
    """
    own = _own(judged, rows, PLACES if where is None else (where,))
    readable = _readable(judged, rows, own)
    usable = [index for index, one in enumerate(own) if one is not None and reaches(_worth(one.verdict), least)]
    pairs = _pairs(rows, usable, others=others, rng=random.Random(seed))
    crossings, equivalent = _cross(judged, rows, own, pairs, least=least)
    return AuditReport(
        rows=len(rows),
        asked=sum(one is not None for one in own),
        unreadable=_bad_rows(rows, readable, faults=(Fault.GOLD,)),
        unpaid=tuple(
            _bad(rows[index], one.verdict, prefix="its own gold is not paid: ")
            for index, one in enumerate(own)
            if one is not None and one.verdict.fault in (None, Fault.POLICY) and not reaches(_worth(one.verdict), least)
        ),
        broken=_bad_rows(rows, readable, faults=(Fault.INFRA,)),
        conflicting=_conflicting(judged, rows, own, least=least),
        crossed=len(pairs),
        crossings=tuple(crossings),
        equivalent=equivalent,
        duplicates=len(rows) - len({(row.group, _key(row.sample.gold)) for row in rows}),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Own:
    """The best verdict that a row's own gold gets, and the response that got it."""

    response: str
    verdict: Verdict


def _answers(row: AuditRow, places: Sequence[str]) -> tuple[str, ...]:
    """Responses that are right if the row is; none if its gold is a rule and it has no reference answer."""
    if row.sample.response:
        return (row.sample.response,)
    gold = row.sample.gold
    options = gold if isinstance(gold, list | tuple) else [gold]
    text = next((text for option in options if (text := text_of(option)) is not None), None)
    if text is None:
        entry = row.sample.meta.get("reasoning_gym")
        text = text_of(entry["entry"]["answer"]) if isinstance(entry, Mapping) else None
    if text is None:
        return ()
    # The bare text is tried too: a gold may be a whole solution that contains the answer where the verifier looks.
    return tuple(dict.fromkeys([*(placed(text, where=where) for where in places), text]))


def _own(judged: Judged, rows: Sequence[AuditRow], places: Sequence[str]) -> list[_Own | None]:
    """For each row, the best of its answers; None if it has none."""
    asked = [(index, answer) for index, row in enumerate(rows) for answer in _answers(row, places)]
    verdicts = judged([replace(rows[index].sample, response=answer) for index, answer in asked])
    best: list[_Own | None] = [None] * len(rows)
    for (index, answer), verdict in zip(asked, verdicts, strict=True):
        before = best[index]
        if before is None or _worth(verdict) > _worth(before.verdict):
            best[index] = _Own(response=answer, verdict=verdict)
    return best


def _worth(verdict: Verdict) -> float:
    return float("-inf") if verdict.fault is not None or verdict.score is None else verdict.score


def _readable(judged: Judged, rows: Sequence[AuditRow], own: Sequence[_Own | None]) -> list[Verdict]:
    """Judge each row, with an empty answer if it has none of its own, to see whether its gold can be read at all."""
    unknown = [replace(rows[index].sample, response="") for index, one in enumerate(own) if one is None]
    given = iter(judged(unknown))
    return [next(given) if one is None else one.verdict for one in own]


def _pairs(
    rows: Sequence[AuditRow], usable: Sequence[int], *, others: int, rng: random.Random
) -> list[tuple[int, int]]:
    """Choose pairs (row, row whose gold answers it) with different golds and prompts, each in both directions."""
    pairs: dict[tuple[int, int], None] = {}
    for index in usable:
        for other in rng.sample(usable, k=min(others, len(usable))):
            if (
                _key(rows[index].sample.gold) != _key(rows[other].sample.gold)
                and rows[index].group != rows[other].group
            ):
                pairs |= {(index, other): None, (other, index): None}
    return list(pairs)


def _cross(
    judged: Judged,
    rows: Sequence[AuditRow],
    own: Sequence[_Own | None],
    pairs: Sequence[tuple[int, int]],
    *,
    least: float,
) -> tuple[list[Crossing], int]:
    samples = [_answered_by(rows[index], own[other]) for index, other in pairs]
    paid = {
        pair: (sample, verdict)
        for pair, sample, verdict in zip(pairs, samples, judged(samples), strict=True)
        if reaches(_worth(verdict), least)
    }
    # Golds rewarded in both directions are one answer in two spellings, unless that happens among many rows.
    mutual = {pair for pair in paid if pair[::-1] in paid}
    if len(mutual) > len(pairs) // 2:
        mutual = set()
    crossings = [
        Crossing(
            row=rows[pair[0]].sample.id,
            answer_of=rows[pair[1]].sample.id,
            answer=sample.response,
            gold=sample.gold,
            score=_worth(verdict),
        )
        for pair, (sample, verdict) in paid.items()
        if pair not in mutual
    ]
    return crossings, len(mutual) // 2


def _conflicting(
    judged: Judged, rows: Sequence[AuditRow], own: Sequence[_Own | None], *, least: float
) -> tuple[BadRow, ...]:
    groups: dict[str, dict[str, int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.group, {}).setdefault(_key(row.sample.gold), index)
    pairs = [
        (first, second)
        for golds in groups.values()
        for first, second in pairwise(golds.values())
        if own[first] is not None
    ]
    verdicts = judged([_answered_by(rows[second], own[first]) for first, second in pairs])
    found: dict[str, BadRow] = {}
    for (first, second), verdict in zip(pairs, verdicts, strict=True):
        for index, other in ((first, second), (second, first)):
            if not reaches(_worth(verdict), least):
                sample, against = rows[index].sample, rows[other].sample
                reason = f"row {against.id} has the same prompt and the gold {against.gold!r:.80}"
                found[sample.id] = BadRow(id=sample.id, reason=reason, verifier=verdict.version, gold=sample.gold)
    return tuple(found.values())


def _answered_by(row: AuditRow, own: _Own | None) -> Sample:
    assert own is not None, "only rows with an answer of their own are crossed"
    return replace(row.sample, response=own.response)


def _key(gold: object) -> str:
    return json.dumps(gold, sort_keys=True, default=repr)


def _bad_rows(rows: Sequence[AuditRow], verdicts: Sequence[Verdict], *, faults: Sequence[Fault]) -> tuple[BadRow, ...]:
    judged = zip(rows, verdicts, strict=True)
    return tuple(_bad(row, verdict) for row, verdict in judged if verdict.fault in faults)


def _bad(row: AuditRow, verdict: Verdict, *, prefix: str = "") -> BadRow:
    return BadRow(id=row.sample.id, reason=prefix + verdict.reason, verifier=verdict.version, gold=row.sample.gold)
