"""The one hand-off between rollouts and training. It holds both staleness bounds, so a bound of 0 *is* synchronous.

Capacity: while generators hold version v, groups of at most v - first version + 1 + max_staleness steps may have been
issued and not dropped, counted since the buffer was made (AReaL, arXiv 2505.24298, section 5.1, rebased on resume), and
never more than the steps that are left.
With 0 the next step's prompts wait for the next version, with 1 they run one step ahead, with k up to k steps ahead.

Age: a group that is issued at version v must be trained by the learner's version v + max_staleness, its deadline. A
ready group may overtake one that still runs as long as all that is left open can be trained in time, a step a version.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from rlpost.errors import DeadlineError
from rlpost.records import RolloutGroup
from rlpost.rollout.issue_order import IssueOrder
from rlpost.rollout.ledger import LedgerCut, PromptLedger
from rlpost.telemetry.waits import WAITS

_NAMED_IN_ERRORS = 10


@dataclass(slots=True)
class _Line:
    """The groups with one deadline: the number of open ones, and the ready ones among them as a heap by index."""

    open: int = 0
    ready: list[tuple[int, RolloutGroup]] = field(default_factory=list[tuple[int, RolloutGroup]])


class RolloutBuffer:
    """Hands scored groups from the collector's thread (`reserve`, `put`, `drop`, `fail`) to the stage (`take`,
    `advance`).

    Safe for several threads.

    Args:
        prompts_per_step: Number of groups that one `take` gives.
        max_staleness: Oldest weights, in versions behind the learner, that a taken token may come from.
        version: Version of the weights that generators hold now.
        last_version: Version of the weights after the last step; prompts that no step would take are not issued.
        ledger: Records the outcome of each prompt. From now on, only the buffer uses it.
        order: Maps each prompt to its row of the data. From now on, only the buffer uses it.
    """

    def __init__(
        self,
        *,
        prompts_per_step: int,
        max_staleness: int,
        version: int,
        last_version: int,
        ledger: PromptLedger,
        order: IssueOrder,
    ) -> None:
        self._prompts_per_step = prompts_per_step
        self._max_staleness = max_staleness
        self._first_version = self._version = version
        self._last_version = last_version
        self._ledger, self._order = ledger, order
        self._last_taken: LedgerCut | None = None
        self._last_order: dict[str, Any] = {}
        self._reserved = 0
        self._lines: dict[int, _Line] = {}
        self._progress = 0
        self._failure: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()

    @property
    def version(self) -> int:
        """The newest weights that generators are known to hold; behind the learner's while a version is published."""
        return self._version

    @property
    def prompts_per_step(self) -> int:
        """Number of groups that one `take` gives."""
        return self._prompts_per_step

    @property
    def since_take(self) -> int:
        """The first index that was not yet issued at the last `take`, which may be one before a resume."""
        with self._changed:
            return self._ledger.since_train

    @property
    def last_taken(self) -> LedgerCut:
        """The ledger as the last `take` left it; with max_staleness 0 it does not depend on the order of arrival."""
        assert self._last_taken is not None, "nothing was taken yet"
        return self._last_taken

    @property
    def last_order(self) -> dict[str, Any]:
        """The state of the order of issue that goes with `last_taken`."""
        return self._last_order

    def cut(self) -> LedgerCut:
        """Return the ledger as it is now; prompts dropped so far are in no later cut."""
        with self._changed:
            return self._ledger.cut()

    def reserve(self, *, timeout_s: float) -> list[int]:
        """Return the indices of all prompts that may be issued now; empty after the timeout or `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._room() > 0, timeout=timeout_s)
            if self._closed:
                return []
            indices = [self._ledger.issue(version=self._version) for _ in range(self._room())]
            if indices:
                self._order.issue(indices)
                self._reserved += len(indices)
                self._line_of(indices[0]).open += len(indices)
            return indices

    def row_of(self, index: int) -> int:
        """Return the row of the data that a reserved index stands for."""
        with self._changed:
            return self._order.row_of(index)

    def note_scored(self, group: RolloutGroup) -> None:
        """Keep a reserved group that has its verdicts, also if it is dropped: the sampler observes it at the next
        `take`.
        """
        with self._changed:
            self._order.note_scored(group)

    def put(self, group: RolloutGroup) -> None:
        """Add a scored group that holds a reservation."""
        assert len(group.verdicts) == len(group.episodes), "only scored groups enter the buffer"
        with self._changed:
            self._ledger.score(group.index)
            heapq.heappush(self._line_of(group.index).ready, (group.index, group))
            self._note_progress()

    def drop(self, index: int, reason: str) -> None:
        """Give a reservation back: the prompt is not trained, and another may be issued in its place."""
        with self._changed:
            self._line_of(index).open -= 1
            self._ledger.drop(index, reason)
            self._order.finish([index])
            self._reserved -= 1
            self._note_progress()

    def fail(self, error: BaseException) -> None:
        """Make `take` raise this error: an exception of the collector never dies in its thread."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def take(self, *, version: int, timeout_s: float) -> list[RolloutGroup]:
        """Return `prompts_per_step` groups in the order of issue, none of whose tokens is older than the bound at
        `version`.

        Among the ready groups, those with the earliest deadline come first, then those with the lowest index. Waits
        while there are too few, or while a group that still runs could no longer be trained in time if it were
        overtaken.

        Args:
            version: Version of the learner's weights; at least the version that generators hold.
            timeout_s: Longest wait during which no group arrives or is dropped and no version is published.

        Raises:
            DeadlineError: no progress for `timeout_s`.
        """
        with self._changed:
            self._wait_until_complete(version, timeout_s)
            groups: list[RolloutGroup] = []
            for deadline in sorted(self._lines):
                line = self._lines[deadline]
                while line.ready and len(groups) < self._prompts_per_step:
                    groups.append(heapq.heappop(line.ready)[1])
                    line.open -= 1
                if not line.open and deadline < self._version + self._max_staleness:
                    del self._lines[deadline]
            self._ledger.train(group.index for group in groups)
            self._order.end_step()
            self._order.finish(group.index for group in groups)
            self._last_taken, self._last_order = self._ledger.cut(), self._order.state()
        for group in groups:
            age = version - group.oldest_version
            assert 0 <= age <= self._max_staleness, f"group {group.index} is {age} versions old at version {version}"
        return sorted(groups, key=lambda group: group.index)

    def advance(self, version: int) -> None:
        """Note that generators hold this version now, which opens room for the prompts of one more step."""
        with self._changed:
            assert version > self._version, f"versions only grow: {self._version} -> {version}"
            self._version = version
            self._note_progress()

    def close(self) -> None:
        """Wake and end every waiting `reserve`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _line_of(self, index: int) -> _Line:
        return self._lines.setdefault(self._ledger.version_of(index) + self._max_staleness, _Line())

    def _note_progress(self) -> None:
        self._progress += 1
        self._changed.notify_all()

    def _wait_until_complete(self, version: int, timeout_s: float) -> None:
        seen, until = self._progress, time.monotonic() + timeout_s
        with WAITS.until("scored groups of the collector", timeout_s=timeout_s) as waiting:
            while self._failure is None and not self._is_complete(version):
                if self._progress != seen:
                    seen, until = self._progress, time.monotonic() + timeout_s
                    waiting.extend(timeout_s)
                in_time = self._changed.wait(timeout=max(0.0, until - time.monotonic()))
                if not in_time and self._progress == seen:
                    raise self._overdue(timeout_s)
        if self._failure is not None:
            raise self._failure

    def _is_complete(self, version: int) -> bool:
        """Whether there are enough ready groups, and taking them leaves every other one a step before its deadline."""
        open_count = ready_count = 0
        for deadline in sorted(self._lines):
            line = self._lines[deadline]
            open_count += line.open
            ready_count += len(line.ready)
            steps_left = max(0, deadline - version)
            if open_count - min(ready_count, self._prompts_per_step) > steps_left * self._prompts_per_step:
                return False
        return ready_count >= self._prompts_per_step

    def _room(self) -> int:
        newest = min(self._version + 1 + self._max_staleness, self._last_version)
        steps_open = newest - self._first_version
        return max(0, steps_open * self._prompts_per_step - self._reserved)

    def _overdue(self, timeout_s: float) -> DeadlineError:
        missing = self._ledger.missing()
        named = ", ".join(map(str, missing[:_NAMED_IN_ERRORS])) + (" ..." if len(missing) > _NAMED_IN_ERRORS else "")
        ready = sum(len(line.ready) for line in self._lines.values())
        return DeadlineError(
            f"the step needs {self._prompts_per_step} scored groups; {ready} are ready and none arrived for "
            f"{timeout_s:g} s; still running: {named or 'none'}: look at the rollout actors' logs, or raise "
            "step_timeout_s in the cluster file"
        )
