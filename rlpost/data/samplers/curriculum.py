"""A curriculum by running pass rate: rows that are solved sometimes come often, those that are always or never solved
seldom.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from rlpost.data.samplers.rows import SampledRows
from rlpost.data.samplers.shuffled import ShuffledEpochs
from rlpost.recipe.sampler import CurriculumConfig
from rlpost.records import Fault, RolloutGroup
from rlpost.score_comparison import reaches


class CurriculumSampler:
    """Spaces the visits of each row by its pass rate p: `1 / (4 p (1 - p))` rounds, and `rest_rounds` at most.

    First every row comes once, in shuffled order; meanwhile a share of the rows is taken from those that were solved
    sometimes. After that, the row with the earliest due time comes next, so that all rows come back, and nothing stalls
    when all of them are solved. The order of rows with equal due times is drawn from (seed, row, visit).

    A row that was taken and not yet observed does not come again, unless all other rows are in the same state. A row
    whose reference cannot be read never comes again.
    """

    def __init__(self, config: CurriculumConfig, rows: SampledRows, *, seed: int, rows_per_step: int) -> None:
        del rows_per_step
        self._config, self._rows, self._seed = config, rows, seed
        self._index_of = {row_id: index for index, row_id in enumerate(rows.ids)}
        self._first_pass = ShuffledEpochs(len(rows.ids), seed=[seed])
        self._seen = 0
        """Number of rows of the first pass that were taken."""
        self._revisits_due = 0.0
        self._now_rounds = 0.0
        self._due_rounds: dict[int, float] = {}
        """Row -> the round in which it comes next; a row under way keeps the round in which it came."""
        self._visits: dict[int, int] = {}
        self._pass_rates: dict[int, float] = {}
        self._under_way: dict[int, int] = {}
        """Row -> number of times that it was taken and not yet observed; the row taken longest ago is first."""
        self._unreadable: set[int] = set()
        self._waiting: list[tuple[float, int, int]] = []
        """A heap of (due time, rank among rows with the same due time, row)."""
        self._resting: list[tuple[float, int, int]] = []
        """A heap of the same form, for rows that were always or never solved, until the first pass is over."""

    def next(self, count: int) -> list[int]:
        """Return the indices of the next `count` rows."""
        return [self._take() for _ in range(count)]

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """Update the pass rates, and set the time of the next visit of each row."""
        for group in groups:
            row = self._index_of[group.prompt.id]
            assert row in self._under_way, f"row {row} was observed and not taken"
            self._under_way[row] -= 1
            self._update_pass_rate(row, group)
            self._due_rounds[row] += self._interval_rounds(row)
            if any(verdict.fault is Fault.GOLD for verdict in group.verdicts):
                self._unreadable.add(row)
            if self._under_way[row] == 0:
                del self._under_way[row]
                self._put_back(row)

    def state(self) -> dict[str, Any]:
        """Return pass rates, due times and visits of the rows that were taken."""
        state = {
            "seen": self._seen,
            "revisits_due": self._revisits_due,
            "now_rounds": self._now_rounds,
            "taken": [
                [row, due, self._visits[row], self._pass_rates.get(row)] for row, due in self._due_rounds.items()
            ],
            "under_way": [[row, count] for row, count in self._under_way.items()],
            "unreadable": sorted(self._unreadable),
        }
        return self._rows.tied(state, kind=self._config.kind)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state` returned."""
        self._rows.check_tied(state, kind=self._config.kind)
        self._seen, self._revisits_due = state["seen"], state["revisits_due"]
        self._now_rounds = state["now_rounds"]
        self._due_rounds = {row: due for row, due, _, _ in state["taken"]}
        self._visits = {row: visits for row, _, visits, _ in state["taken"]}
        self._pass_rates = {row: rate for row, _, _, rate in state["taken"] if rate is not None}
        self._under_way = dict(state["under_way"])
        self._unreadable = set(state["unreadable"])
        self._waiting, self._resting = [], []
        for row in self._due_rounds.keys() - self._under_way.keys():
            self._put_back(row)

    def _take(self) -> int:
        row = self._choose()
        self._due_rounds.setdefault(row, self._now_rounds)
        self._visits[row] = self._visits.get(row, 0) + 1
        self._under_way[row] = self._under_way.pop(row, 0) + 1
        return row

    def _choose(self) -> int:
        if self._seen < len(self._rows.ids):
            self._revisits_due = min(1.0, self._revisits_due + self._config.revisit_share)
            if self._revisits_due < 1 or not self._waiting:
                return self._choose_unseen()
            self._revisits_due -= 1
        if self._waiting:
            due_rounds, _, row = heapq.heappop(self._waiting)
            self._now_rounds = max(self._now_rounds, due_rounds)
            return row
        # Every row is under way or cannot be read.
        return next(iter(self._under_way or self._due_rounds))

    def _choose_unseen(self) -> int:
        row = int(self._first_pass.epoch(0)[self._seen])
        self._seen += 1
        if self._seen == len(self._rows.ids):
            self._waiting += self._resting
            self._resting = []
            heapq.heapify(self._waiting)
        return row

    def _put_back(self, row: int) -> None:
        if row in self._unreadable:
            return
        rests = self._interval_rounds(row) >= self._config.rest_rounds and self._seen < len(self._rows.ids)
        place = (self._due_rounds[row], self._rank(row), row)
        heapq.heappush(self._resting if rests else self._waiting, place)

    def _update_pass_rate(self, row: int, group: RolloutGroup) -> None:
        scores = [verdict.score for verdict in group.verdicts if verdict.score is not None]
        if not scores:
            return
        newest = sum(reaches(score, self._config.pass_score) for score in scores) / len(scores)
        before = self._pass_rates.get(row, newest)
        self._pass_rates[row] = before + self._config.newest_share * (newest - before)

    def _interval_rounds(self, row: int) -> float:
        rate = self._pass_rates.get(row, 0.5)
        learnability = 4 * rate * (1 - rate)
        most = self._config.rest_rounds
        return min(most, 1 / learnability) if learnability * most > 1 else most

    def _rank(self, row: int) -> int:
        text = f"{self._seed}|{row}|{self._visits[row]}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
