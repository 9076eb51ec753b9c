"""Prompts in, scored groups out: fans a group out into requests, files rollouts, scores while others still generate."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from rlpost.errors import DataError, DeadlineError
from rlpost.interfaces import Generator, Scorer
from rlpost.records import Fault, GenerationRequest, Prompt, Rollout, RolloutGroup, Sample, Sampling
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.faults import refuse_if_nothing_was_judged

_POLL_S = 0.25
_MOST_DROPS_IN_A_ROW = 256


def request_seed(*parts: object) -> int:
    """A seed from what a request is, not from when or where it runs: a reissued prompt gives the same answer."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


@dataclass(slots=True)
class _OpenGroup:
    prompt: Prompt
    index: int
    rollouts: dict[int, Rollout] = field(default_factory=dict[int, Rollout])


class Collector:
    """Runs groups of `samples` responses a prompt. Not thread-safe: one thread issues and gathers."""

    def __init__(
        self,
        generator: Generator,
        scorer: Scorer,
        *,
        samples: int,
        sampling: Sampling,
        seed: str,
        stall_timeout_s: float,
    ) -> None:
        self._generator, self._scorer = generator, scorer
        self._samples, self._sampling, self._seed = samples, sampling, seed
        self._stall_timeout_s = stall_timeout_s
        self._open: dict[str, _OpenGroup] = {}
        self._scoring: set[Future[list[RolloutGroup]]] = set()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._last_progress = time.monotonic()

    @property
    def in_flight(self) -> int:
        """Above 0 while groups are issued and not yet gathered."""
        return len(self._open) + len(self._scoring)

    def issue(self, prompts: Iterable[tuple[int, Prompt]]) -> None:
        """Start one group for each (index, prompt)."""
        requests: list[GenerationRequest] = []
        for index, prompt in prompts:
            # The index makes the key unique when the same prompt comes again in a later epoch.
            key = f"{index}:{prompt.id}"
            self._open[key] = _OpenGroup(prompt=prompt, index=index)
            requests += [
                GenerationRequest(
                    key=(key, sample),
                    prompt_token_ids=prompt.token_ids,
                    sampling=self._sampling,
                    seed=request_seed(self._seed, index, prompt.id, sample),
                )
                for sample in range(self._samples)
            ]
        self._generator.submit(requests)
        self._last_progress = time.monotonic()

    def gather(self, *, timeout_s: float) -> list[RolloutGroup]:
        """Groups that were scored since the last call, in any order; waits up to `timeout_s` for the first.

        Raises:
            DeadlineError: nothing was generated or scored for `stall_timeout_s`.
        """
        if self._open:
            wait_s = 0.0 if any(future.done() for future in self._scoring) else timeout_s
            finished = self._file(self._generator.poll(wait_s))
            if finished:
                self._scoring.add(self._executor.submit(self._score, finished))
        elif self._scoring:
            wait(self._scoring, timeout=timeout_s, return_when=FIRST_COMPLETED)
        done = {future for future in self._scoring if future.done()}
        self._scoring -= done
        if done:
            self._last_progress = time.monotonic()
        elif self.in_flight and time.monotonic() - self._last_progress > self._stall_timeout_s:
            waiting = ", ".join(sorted(self._open)[:5])
            raise DeadlineError(
                f"no response was finished or scored for {self._stall_timeout_s:g} s; waiting for {self.in_flight} "
                f"groups ({waiting} ...): look at the rollout actors' logs, or raise step_timeout_s in the cluster file"
            )
        return [group for future in done for group in future.result()]

    def close(self) -> None:
        """Stop scoring."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _file(self, rollouts: Sequence[Rollout]) -> list[_OpenGroup]:
        finished: list[_OpenGroup] = []
        for rollout in rollouts:
            key, sample = rollout.key
            group = self._open[key]
            assert sample not in group.rollouts, f"sample {sample} of {key} came twice"
            group.rollouts[sample] = rollout
            self._last_progress = time.monotonic()
            if len(group.rollouts) == self._samples:
                finished.append(self._open.pop(key))
        return finished

    def _score(self, finished: list[_OpenGroup]) -> list[RolloutGroup]:
        samples = [
            _sample_of(group.prompt, group.rollouts[sample]) for group in finished for sample in range(self._samples)
        ]
        verdicts = self._scorer.score(samples)
        assert len(verdicts) == len(samples), "a scorer returns one verdict a sample"
        return [
            RolloutGroup(
                prompt=group.prompt,
                index=group.index,
                rollouts=tuple(group.rollouts[sample] for sample in range(self._samples)),
                verdicts=tuple(verdicts[place * self._samples : (place + 1) * self._samples]),
            )
            for place, group in enumerate(finished)
        ]


def collect_all(
    prompts: Sequence[Prompt], collector: Collector, *, on_progress: Callable[[int], None]
) -> list[RolloutGroup]:
    """One scored group a prompt, in the order of the prompts; for evaluation and preference pairs."""
    collector.issue(enumerate(prompts))
    groups: list[RolloutGroup] = []
    while len(groups) < len(prompts):
        groups += collector.gather(timeout_s=_POLL_S)
        on_progress(len(groups))
    refuse_if_nothing_was_judged(groups)
    return sorted(groups, key=lambda group: group.index)


class CollectorThread:
    """Keeps a buffer as full as its capacity allows.

    Waits for room in the buffer and for rollouts; unblocked by `buffer.advance` and by `stop`. `prompt_at(index)` names
    the prompt with that place in the order of issue.
    """

    def __init__(self, collector: Collector, buffer: RolloutBuffer, *, prompt_at: Callable[[int], Prompt]) -> None:
        self._collector, self._buffer, self._prompt_at = collector, buffer, prompt_at
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        self.quarantined: dict[str, str] = {}
        """Prompt -> why its reference could not be read; each was replaced by another prompt."""
        self._dropped_in_a_row = 0

    def start(self) -> None:
        """Begin to fill the buffer."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; requests in flight are left to the generator."""
        self._stopping.set()
        self._buffer.close()
        self._thread.join(timeout=10)
        self._collector.close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._fill()
                for group in self._collector.gather(timeout_s=_POLL_S) if self._collector.in_flight else []:
                    self._hand_over(group)
        except BaseException as error:
            self._buffer.fail(error)

    def _fill(self) -> None:
        indices = self._buffer.reserve(timeout_s=0.0 if self._collector.in_flight else _POLL_S)
        if indices:
            self._collector.issue((index, self._prompt_at(index)) for index in indices)

    def _hand_over(self, group: RolloutGroup) -> None:
        unreadable = next((verdict.reason for verdict in group.verdicts if verdict.fault is Fault.GOLD), None)
        if unreadable is None:
            self._dropped_in_a_row = 0
            self._buffer.put(group)
            return
        self.quarantined[group.prompt.id] = unreadable
        self._dropped_in_a_row += 1
        if self._dropped_in_a_row > _MOST_DROPS_IN_A_ROW:
            raise DataError(
                f"references must be readable by the verifier; {self._dropped_in_a_row} prompts in a row had one "
                f"that is not, the last {group.prompt.id}: {unreadable}: set data.{group.prompt.dataset}.columns.gold"
            )
        self._buffer.drop(group.index)


def _sample_of(prompt: Prompt, rollout: Rollout) -> Sample:
    key, sample = rollout.key
    return Sample(
        id=f"{key}#{sample}",
        prompt=prompt.messages[-1].content if prompt.messages else "",
        response=rollout.text,
        gold=prompt.gold,
        meta=prompt.meta,
        dataset=prompt.dataset,
        finish=rollout.finish,
        token_count=len(rollout.token_ids),
    )
