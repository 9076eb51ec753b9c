"""The one hand-off between rollouts and training. Its capacity is the staleness bound, so 0 *is* synchronous.

At weight version v, prompts of at most the first v + 1 + max_staleness steps may have been issued: with 0 the next
step's prompts wait for the next version, with 1 they run one step ahead, with k up to k steps ahead. The same bound is
checked again on every token when groups are taken. (AReaL, arXiv 2505.24298, section 5.1, for the capacity.)
"""

from __future__ import annotations

import threading
import time

from rlpost.errors import DeadlineError
from rlpost.records import RolloutGroup


class RolloutBuffer:
    """Scored groups from the collector's thread (`reserve`, `put`, `drop`, `fail`) to the stage (`take`, `advance`)."""

    def __init__(self, *, prompts_per_step: int, max_staleness: int, version: int, first_index: int) -> None:
        self._prompts_per_step = prompts_per_step
        self._max_staleness = max_staleness
        self._first_version = version
        self._version = version
        self._reserved = 0
        self._next_index = first_index
        self._open: set[int] = set()
        self._ready: dict[int, RolloutGroup] = {}
        self._failure: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()

    @property
    def version(self) -> int:
        """The newest weights that generators hold."""
        return self._version

    @property
    def resume_index(self) -> int:
        """The first index that no step has taken: where a resumed stage goes on."""
        with self._changed:
            return min(self._open, default=self._next_index)

    def reserve(self, *, timeout_s: float) -> range:
        """Indices of prompts to issue now, all that there is room for; none within the timeout, or closed: empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._room() > 0, timeout=timeout_s)
            granted = 0 if self._closed else max(0, self._room())
            indices = range(self._next_index, self._next_index + granted)
            self._next_index += granted
            self._reserved += granted
            self._open.update(indices)
            return indices

    def put(self, group: RolloutGroup) -> None:
        """A scored group that holds a reservation."""
        assert len(group.verdicts) == len(group.rollouts), "only scored groups enter the buffer"
        with self._changed:
            assert group.index in self._open, f"group {group.index} holds no reservation"
            assert group.index not in self._ready, f"group {group.index} was put twice"
            self._ready[group.index] = group
            self._changed.notify_all()

    def drop(self, index: int) -> None:
        """Give a reservation back: the prompt will not be trained, and another may be issued in its place."""
        with self._changed:
            self._open.remove(index)
            self._reserved -= 1
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Make `take` raise this error: an exception of the collector never dies in its thread."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def take(self, count: int, *, timeout_s: float) -> list[RolloutGroup]:
        """The `count` groups issued first, in the order of issue, none older than the bound.

        Raises:
            DeadlineError: no group arrived for `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        seen = -1
        with self._changed:
            while self._failure is None and not self._is_complete(count):
                if len(self._ready) != seen:
                    seen, deadline = len(self._ready), time.monotonic() + timeout_s
                if not self._changed.wait(timeout=max(0.0, deadline - time.monotonic())):
                    raise DeadlineError(
                        f"the step needs {count} scored groups; {seen} are ready and none arrived for {timeout_s:g} s: "
                        "look at the rollout actors' logs, or raise step_timeout_s in the cluster file"
                    )
            if self._failure is not None:
                raise self._failure
            groups = [self._ready.pop(index) for index in sorted(self._open)[:count]]
            self._open.difference_update(group.index for group in groups)
        for group in groups:
            age = self._version - group.oldest_version
            assert 0 <= age <= self._max_staleness, f"group {group.index} is {age} versions old"
        return groups

    def advance(self, version: int) -> None:
        """Generators hold this version now; room for one more step's prompts opens."""
        with self._changed:
            assert version > self._version, f"versions only grow: {self._version} -> {version}"
            self._version = version
            self._changed.notify_all()

    def close(self) -> None:
        """Wake and end every waiting `reserve`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_complete(self, count: int) -> bool:
        # A later group that is ready must not overtake an earlier one, which would then grow older than the bound.
        return len(self._ready) >= count and self._ready.keys() >= set(sorted(self._open)[:count])

    def _room(self) -> int:
        steps_open = self._version - self._first_version + 1 + self._max_staleness
        return steps_open * self._prompts_per_step - self._reserved
