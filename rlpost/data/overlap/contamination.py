"""Finds evaluation instances inside training rows by TULU 3's rule (arXiv 2411.15124, section 3.2), exactly.

An instance is contaminated if n-grams that it shares with one training row cover more than half of its tokens; a
training set is dirty for an evaluation set if it contaminates more than 2 % of its instances. The authors search with
an index that returns the 100 best rows for a query, so some matches are missed; here every row is compared with every
instance, through a table of the instances' n-grams in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Gram = tuple[int, ...]
"""Numbers of n successive words."""


class Overlap(NamedTuple):
    """A training row that contains an evaluation instance."""

    row: int
    """Place of the row among those that were compared."""
    instance: int
    """Place of the instance in the index."""
    share: float
    """Share of the instance's tokens that shared n-grams cover."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """When an instance counts as contaminated."""

    ngram_size: int
    instance_share: float
    """An instance is contaminated if more than this share of its tokens is covered by n-grams of one row."""


class InstanceIndex:
    """The n-grams of evaluation instances; a lookup takes time in the words of the row, not in the instances.

    Args:
        instances: For each instance, the words of its turns. N-grams do not cross from one turn to the next.
        rule: See `Rule`. An instance with no turn of `ngram_size` words has no n-gram: it is contaminated by a row one
            of whose turns is one of its turns, word for word, if that turn has more than `instance_share` of its words.
    """

    def __init__(self, instances: Sequence[Sequence[Sequence[str]]], *, rule: Rule) -> None:
        self._rule = rule
        self._numbers: dict[str, int] = {}
        self._lengths = [sum(map(len, turns)) for turns in instances]
        self._places: dict[Gram, list[tuple[int, int]]] = defaultdict(list)
        self._short: dict[Gram, list[tuple[int, int]]] = defaultdict(list)
        """Words of a whole turn -> the instances that have it and no n-gram, with the place of its first word."""
        for number, turns in enumerate(instances):
            start, is_short = 0, all(len(words) < rule.ngram_size for words in turns)
            for words in turns:
                known = [self._numbers.setdefault(word, len(self._numbers)) for word in words]
                if is_short and known:
                    self._short[tuple(known)].append((number, start))
                for place in range(len(known) - rule.ngram_size + 1):
                    self._places[tuple(known[place : place + rule.ngram_size])].append((number, start + place))
                start += len(words)

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self._lengths)

    def shares(self, turns: Iterable[Sequence[str]]) -> dict[int, float]:
        """Return instance -> share of its tokens that n-grams of a row cover, for those that have any.

        Args:
            turns: The words of the row's turns.
        """
        covered: dict[int, int] = defaultdict(int)
        for shared in self._shared(turns):
            covering = (1 << len(shared)) - 1
            places = self._places if len(shared) == self._rule.ngram_size else self._short
            for number, start in places[shared]:
                covered[number] |= covering << start
        return {number: bits.bit_count() / self._lengths[number] for number, bits in covered.items()}

    def _shared(self, turns: Iterable[Sequence[str]]) -> set[Gram]:
        """Return the n-grams and the short turns that a row shares with instances, each once, as a row may repeat one
        thousands of times.
        """
        size = self._rule.ngram_size
        shared: set[Gram] = set()
        for words in turns:
            known = [self._numbers.get(word, -1) for word in words]
            if len(known) < size and tuple(known) in self._short:
                shared.add(tuple(known))
            unknown = -1
            for place, word in enumerate(known):
                if word < 0:
                    unknown = place
                if place - unknown >= size:
                    gram = tuple(known[place - size + 1 : place + 1])
                    if gram in self._places:
                        shared.add(gram)
        return shared

    def overlaps(self, rows: Iterable[Iterable[Sequence[str]]]) -> list[Overlap]:
        """Return the overlaps by which rows contaminate instances, in the order of the rows."""
        return [
            Overlap(row, instance, share)
            for row, turns in enumerate(rows)
            for instance, share in sorted(self.shares(turns).items())
            if share > self._rule.instance_share
        ]


class SetReport(NamedTuple):
    """The overlap of one training set with one evaluation set."""

    instances: int
    contaminated: int
    """Number of instances that any row contaminates."""
    rows: int
    """Number of training rows that contaminate an instance."""
    is_dirty: bool

    @property
    def share(self) -> float:
        """Share of the instances that are contaminated."""
        return self.contaminated / self.instances if self.instances else 0.0


def set_report(overlaps: Sequence[Overlap], *, instances: range, set_share: float) -> SetReport:
    """Sum up the overlaps with the evaluation set that has these places in the index.

    Args:
        overlaps: What `InstanceIndex.overlaps` found.
        instances: The places of the set's instances.
        set_share: A training set is dirty if it contaminates more than this share of them.
    """
    found = [overlap for overlap in overlaps if overlap.instance in instances]
    contaminated = len({overlap.instance for overlap in found})
    return SetReport(
        instances=len(instances),
        contaminated=contaminated,
        rows=len({overlap.row for overlap in found}),
        is_dirty=contaminated > set_share * len(instances),
    )


def merged_ranges(sizes: Mapping[str, int]) -> dict[str, range]:
    """Return evaluation set -> places of its instances, when all sets follow each other in one index."""
    ranges: dict[str, range] = {}
    start = 0
    for name, size in sizes.items():
        ranges[name] = range(start, start + size)
        start += size
    return ranges
