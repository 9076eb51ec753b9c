"""Keeps faults from passing for a model that learns nothing, and a failing service from costing a run its samples."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import NamedTuple

from rlpost.errors import RewardError
from rlpost.interfaces import Scorer
from rlpost.recipe.rewards import OnFaultsConfig
from rlpost.records import Fault, Mark, RolloutGroup, Sample, Verdict
from rlpost.telemetry.waits import WAITS

INFRA_FAULT = "infra fault"
"""The reason for dropping a group with too few judged samples to compare."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
PROBES = 4
"""Number of failed samples, or groups of them, that are judged again to test whether a service is back."""
ROUNDS_ONCE_REACHED = 3
"""Number of times that failed samples are judged again once a service answers; later failures have another cause."""
_FEWEST = 20
"""Smallest number of verdicts over which a share is taken, so that the first few of a run do not stop it."""


class Shares(NamedTuple):
    """Share of infra faults among the last verdicts."""

    faults: int
    verdicts: int

    @property
    def share(self) -> float:
        """The share, from 0 to 1."""
        return self.faults / max(_FEWEST, self.verdicts)


class CircuitBreaker:
    """Sits between a collector and its scorer; `judge` is called from one thread, all other methods are thread-safe.

    If too many of the last verdicts are infra faults, it pauses: it keeps the samples that could not be judged, tries a
    few of them after growing delays, and judges all of them again once that works. A pause has a time limit. After it
    the run continues without those samples, or stops if too many are lost.

    Args:
        config: Thresholds; `longest_pause_s` is used as it is.
        say: Prints a line for the user.
    """

    def __init__(self, config: OnFaultsConfig, *, say: Callable[[str], None]) -> None:
        self._config, self._say = config, say
        self._last: deque[bool] = deque(maxlen=config.window)
        self._closed = threading.Event()
        self._tolerates = False
        self.paused = False
        """Whether no new prompts should be issued."""

    def close(self) -> None:
        """End a pause; `judge` then raises an error."""
        self._closed.set()

    def judge(self, scorer: Scorer, samples: Sequence[Sample]) -> list[Verdict]:
        """Return the scorer's verdicts, after as many attempts as the thresholds require.

        Raises:
            RewardError: too many verdicts are infra faults, even after retries.
            CancelledError: `close` was called during a pause.
        """
        verdicts = list(scorer.score(samples))
        if self._tolerates and self._with(verdicts).share <= self._config.pause_above:
            self._tolerates = False
        if self._with(verdicts).share > self._config.pause_above and not self._tolerates:
            self._wait_out(scorer, samples, verdicts)
            self._tolerates = self._with(verdicts).share > self._config.pause_above
        found = self._with(verdicts)
        self._last.extend(verdict.fault is Fault.INFRA for verdict in verdicts)
        first = next((verdict for verdict in verdicts if verdict.fault is Fault.INFRA), None)
        if first is not None and found.share > self._config.stop_above:
            raise RewardError(
                f"at most {self._config.stop_above:.3g} of the verdicts may be infra faults; {found.faults} of the "
                f"last {found.verdicts} are, the first of {first.version or 'a verifier'}: {first.reason}: mend the "
                "service or the environment and start the run again, or raise rewards.on_faults.stop_above"
            )
        return verdicts

    def _with(self, verdicts: Sequence[Verdict]) -> Shares:
        """Return the shares of the window with these verdicts added."""
        last = [*self._last, *(verdict.fault is Fault.INFRA for verdict in verdicts)][-self._config.window :]
        return Shares(sum(last), len(last))

    def _wait_out(self, scorer: Scorer, samples: Sequence[Sample], verdicts: list[Verdict]) -> None:
        """Judge samples again, in place, if they may succeed later."""
        passing = [verdict for verdict in verdicts if _may_pass(verdict)]
        if not passing:
            return
        self.paused = True
        found, longest_s = self._with(verdicts), self._config.longest_pause_s
        self._say(
            f"scoring pauses: {found.faults} of the last {found.verdicts} verdicts are infra faults, "
            f"{passing[0].version or 'a verifier'}: {passing[0].reason}; no prompts are issued, and what failed is "
            f"judged again for up to {longest_s:g} s"
        )
        try:
            started = time.monotonic()
            with WAITS.pause(f"{passing[0].version or 'a verifier'} to be back", timeout_s=longest_s):
                self._retry(scorer, samples, verdicts, until=started + longest_s)
            WAITS.note("the end of a pause of scoring")
            left = sum(verdict.fault is Fault.INFRA for verdict in verdicts)
            what = f"{left} samples could not be judged and are left out" if left else "all samples are judged"
            self._say(f"scoring goes on after {time.monotonic() - started:.1f} s: {what}")
        finally:
            self.paused = False

    def _retry(self, scorer: Scorer, samples: Sequence[Sample], verdicts: list[Verdict], *, until: float) -> None:
        wait_s, rounds = FIRST_WAIT_S, 0
        while rounds < ROUNDS_ONCE_REACHED and (left_s := until - time.monotonic()) > 0:
            if self._closed.wait(min(wait_s, left_s)):
                raise CancelledError("the collector was closed while scoring paused")
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            failed = [place for place, verdict in enumerate(verdicts) if _may_pass(verdict)]
            together = _together(scorer, samples, failed)
            is_reached = self._again(scorer, samples, verdicts, together[:PROBES])
            if rounds == 0 and not is_reached:
                continue
            rounds += 1
            self._again(scorer, samples, verdicts, together[PROBES:])
            if not any(map(_may_pass, verdicts)):
                return

    def _again(
        self, scorer: Scorer, samples: Sequence[Sample], verdicts: list[Verdict], together: Sequence[list[int]]
    ) -> bool:
        """Judge these samples once more; return whether any of them has a verdict now."""
        places = [place for group in together for place in group]
        if not places:
            return False
        judged = scorer.score([samples[place] for place in places])
        for place, verdict in zip(places, judged, strict=True):
            verdicts[place] = verdict
        return any(verdict.fault is not Fault.INFRA for verdict in judged)


def lost_to_infra(group: RolloutGroup) -> str | None:
    """Return the reason for dropping a group in which infra faults left fewer than two judged samples; None
    otherwise.
    """
    judged = sum(verdict.fault is not Fault.INFRA for verdict in group.verdicts)
    return INFRA_FAULT if judged < min(2, len(group.verdicts)) else None


def refuse_if_nothing_was_judged(groups: Sequence[RolloutGroup]) -> None:
    """Check that one step's or one evaluation's groups contain a judged sample.

    Raises:
        RewardError: every single sample ended in a fault.
    """
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    faults = [verdict for verdict in verdicts if verdict.fault is not None]
    if verdicts and len(faults) == len(verdicts):
        first = faults[0]
        raise RewardError(
            f"a verifier must judge at least one of {len(verdicts)} samples; all ended in a fault, the first "
            f"({first.fault}, {first.version or 'no verifier'}): {first.reason}: mend the verifier or its data, "
            "or name another in rewards.routes"
        )


def _may_pass(verdict: Verdict) -> bool:
    return verdict.fault is Fault.INFRA and Mark.PERMANENT not in verdict.marks


def _together(scorer: Scorer, samples: Sequence[Sample], places: Sequence[int]) -> list[list[int]]:
    """Group the positions that must be judged in one call: each alone, or together with the present members of its
    group.
    """
    found: dict[str | int, list[int]] = {}
    for place in places:
        sample = samples[place]
        if not (sample.group and scorer.by_group(sample)):
            found[place] = [place]
        elif sample.group not in found:
            found[sample.group] = [other for other, one in enumerate(samples) if one.group == sample.group]
    return list(found.values())
