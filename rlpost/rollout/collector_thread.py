"""The collector at work beside the learner: a thread that keeps a buffer as full as its capacity allows."""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future

from rlpost.errors import DataError
from rlpost.records import Fault, Prompt, RolloutGroup, Verdict
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.collector import Collector
from rlpost.rollout.probe import Probe
from rlpost.rollout.quarantine import Quarantine

GOLD_FAULT = "gold fault"
"""The reason for dropping a group whose reference the verifier cannot read."""
_TURN_S = 0.02
"""Longest wait for a response: new weights open room, and verdicts arrive, while the thread waits for the generator."""
_MOST_GOLD_FAULTS_IN_A_ROW = 256
_OBJECTS_BETWEEN_GC = 1_000_000
"""Threshold of Python's garbage collection while the thread runs. Open samples are many small objects without cycles,
about ten a sample: with a threshold below their number, the search for cycles takes a fifth of the time of a sample at
512 generators (`benchmarks/control_plane.py`).
"""


class CollectorThread:
    """Issues prompts while the buffer has room, and puts or drops each scored group.

    Waits for room in the buffer and for rollouts; unblocked by `buffer.advance` and by `stop`.

    Args:
        collector: From now on, only this thread uses it.
        buffer: Says how many prompts may be issued; gets the groups.
        prompt_of: Returns the prompt of a row of the data; a pure function.
        keep: Returns the reason for dropping a scored group, or None to train on it; called once per group, on this
            thread.
        quarantine: Prompts whose reference cannot be read. A prompt that turns out to be one is added, is replaced by
            another prompt, and is never issued to the engines again.
    """

    def __init__(
        self,
        collector: Collector,
        buffer: RolloutBuffer,
        *,
        prompt_of: Callable[[int], Prompt],
        keep: Callable[[RolloutGroup], str | None],
        quarantine: Quarantine,
    ) -> None:
        self._collector, self._buffer, self._prompt_of, self._keep = collector, buffer, prompt_of, keep
        self._gc_thresholds = gc.get_threshold()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        self._quarantine = quarantine
        self._gold_faults_in_a_row = 0
        self._probe_count = 0
        self._new_probes: deque[Probe] = deque()
        self._unanswered: list[Probe] = []
        self._end: BaseException | None = None
        self._probing = threading.Lock()

    def start(self) -> None:
        """Begin to fill the buffer; until `stop`, Python looks for cycles of garbage less often."""
        gc.set_threshold(_OBJECTS_BETWEEN_GC, *self._gc_thresholds[1:])
        self._thread.start()

    def stop(self) -> None:
        """End the thread; requests in flight are left to the generator."""
        self._stopping.set()
        self._buffer.close()
        self._thread.join(timeout=10)
        self._collector.close()
        gc.set_threshold(*self._gc_thresholds)

    def probe(self, prompts: Sequence[Prompt], *, max_tokens: int) -> Future[list[RolloutGroup]]:
        """Ask the engines for one unscored response a prompt, beside the normal work; never in buffer or ledger.

        Returns:
            One group per prompt, in the order of the prompts, each with one response and no verdict. Raises the error
            that ended the thread, or `CancelledError` if it was stopped. May be called from any thread.
        """
        with self._probing:
            probe = Probe(prompts, max_tokens=max_tokens, name=f"probe {self._probe_count}")
            self._probe_count += 1
            if self._end is not None:
                probe.answered.set_exception(self._end)
            else:
                self._unanswered = [*(other for other in self._unanswered if not other.answered.done()), probe]
                self._new_probes.append(probe)
        return probe.answered

    def turn(self, *, timeout_s: float) -> None:
        """Issue the prompts that there is room for, then hand over the scored groups; wait up to `timeout_s` for
        either.
        """
        while self._new_probes:
            self._collector.ask(self._new_probes.popleft())
        if not self._collector.paused:
            self._issue(self._buffer.reserve(timeout_s=0.0 if self._collector.in_flight else timeout_s))
        if self._collector.in_flight:
            for group in self._collector.gather(timeout_s=timeout_s):
                self._hand_over(group)

    def _issue(self, indices: Sequence[int]) -> None:
        fresh: list[tuple[int, Prompt]] = []
        for index in indices:
            prompt = self._prompt_of(self._buffer.row_of(index))
            if prompt.id in self._quarantine:
                reason = self._quarantine.reason(prompt.id)
                self._buffer.note_scored(_unreadable(prompt, index, reason))
                self._buffer.drop(index, GOLD_FAULT)
                self._count_gold_fault(prompt, reason)
            else:
                fresh.append((index, prompt))
        if fresh:
            self._collector.issue(fresh, step=self._buffer.version)

    def _run(self) -> None:
        end: BaseException = CancelledError("the collector was stopped")
        try:
            while not self._stopping.is_set():
                self.turn(timeout_s=_TURN_S)
        except BaseException as error:
            self._buffer.fail(error)
            end = error
        with self._probing:
            self._end = end
            for probe in self._unanswered:
                if not probe.answered.done():
                    probe.answered.set_exception(end)

    def _hand_over(self, group: RolloutGroup) -> None:
        self._buffer.note_scored(group)
        unreadable = next((verdict for verdict in group.verdicts if verdict.fault is Fault.GOLD), None)
        if unreadable is not None:
            self._quarantine.add(group.prompt, unreadable)
            self._count_gold_fault(group.prompt, unreadable.reason)
            self._buffer.drop(group.index, GOLD_FAULT)
            return
        self._gold_faults_in_a_row = 0
        reason = self._keep(group)
        if reason is None:
            self._buffer.put(group)
        else:
            self._buffer.drop(group.index, reason)

    def _count_gold_fault(self, prompt: Prompt, reason: str) -> None:
        self._gold_faults_in_a_row += 1
        if self._gold_faults_in_a_row > _MOST_GOLD_FAULTS_IN_A_ROW:
            raise DataError(
                f"references must be readable by the verifier; {self._gold_faults_in_a_row} prompts in a row had one "
                f"that is not, the last {prompt.id}: {reason}: set data.{prompt.dataset}.columns.gold"
            )


def _unreadable(prompt: Prompt, index: int, reason: str) -> RolloutGroup:
    """A prompt that was not generated for, as the sampler sees the one that showed its reference to be unreadable."""
    return RolloutGroup(prompt=prompt, index=index, episodes=(), verdicts=(Verdict(fault=Fault.GOLD, reason=reason),))
