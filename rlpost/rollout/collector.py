"""Turns prompts into scored groups: it splits a group into requests, and scores each response as soon as it arrives."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple

from rlpost.errors import DeadlineError
from rlpost.interfaces import Generator, Scorer
from rlpost.records import (
    Completion,
    Episode,
    Fault,
    GenerationRequest,
    Prompt,
    RolloutGroup,
    Sample,
    Sampling,
    Verdict,
)
from rlpost.rollout.episodes import single_turn
from rlpost.rollout.faults import CircuitBreaker, refuse_if_nothing_was_judged
from rlpost.rollout.probe import Probe
from rlpost.telemetry.waits import WAITS

_POLL_S = 0.25


def request_seed(*parts: object) -> int:
    """Derive a seed from the identity of a request, not from its time or place: a reissued prompt gets the same
    answer.
    """
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


@dataclass(slots=True)
class _OpenGroup:
    prompt: Prompt
    question: str
    index: int
    step: int | None
    episodes: dict[int, Episode] = field(default_factory=dict[int, Episode])
    verdicts: dict[int, Verdict] = field(default_factory=dict[int, Verdict])


class _Unscored(NamedTuple):
    """One episode on its way to the scorer."""

    group: str
    """Key of the open group."""
    sample: Sample
    place: int
    """Position of the episode in the group."""


class _Judged(NamedTuple):
    """One episode's verdict, on its way back from the scorer's thread."""

    group: str
    place: int
    verdict: Verdict


class Collector:
    """Runs groups of `samples` responses per prompt. Not thread-safe: one thread issues and gathers.

    Scoring runs on a second thread. Each call of the scorer takes all samples that are waiting at that moment, so a
    slow verifier gets fewer and larger batches, and never a growing queue of small ones. Samples that are judged
    together with their group wait for its other samples.
    """

    def __init__(
        self,
        generator: Generator,
        scorer: Scorer,
        *,
        samples: int,
        sampling: Sampling,
        seed: str,
        stall_timeout_s: float,
        breaker: CircuitBreaker,
    ) -> None:
        self._generator, self._scorer, self._breaker = generator, scorer, breaker
        self._samples, self._sampling, self._seed = samples, sampling, seed
        self._stall_timeout_s = stall_timeout_s
        self._open: dict[str, _OpenGroup] = {}
        self._probes: dict[str, Probe] = {}
        self._generating = 0
        # The collecting thread appends and the scoring thread removes; both ends of a deque are thread-safe. Each entry
        # is scored in one call.
        self._unscored: deque[list[_Unscored]] = deque()
        self.faults: Counter[Fault] = Counter()
        """Faults of all groups gathered so far."""
        self.scoring_s = 0.0
        """Seconds spent in the scorer so far."""
        self._scoring: list[Future[list[_Judged]]] = []
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._last_progress = time.monotonic()

    @property
    def in_flight(self) -> int:
        """Number of groups and probe answers that are issued and not gathered yet."""
        return len(self._open) + len(self._probes)

    @property
    def paused(self) -> bool:
        """Whether scoring is waiting for a service, so that nothing more should be issued."""
        return self._breaker.paused

    def issue(self, prompts: Iterable[tuple[int, Prompt]], *, step: int | None) -> None:
        """Start one group for each (index, prompt); `step` is the current step of an RL stage, None outside of one."""
        requests: list[GenerationRequest] = []
        for index, prompt in prompts:
            # The index keeps keys unique when the same prompt is issued again in a later epoch.
            key = f"{index}:{prompt.id}"
            self._open[key] = _OpenGroup(prompt=prompt, question=prompt.question, index=index, step=step)
            requests += [
                GenerationRequest(
                    key=(key, sample),
                    prompt_token_ids=prompt.token_ids,
                    sampling=self._sampling,
                    seed=request_seed(self._seed, index, prompt.id, sample),
                )
                for sample in range(self._samples)
            ]
        self._submit(requests)

    def ask(self, probe: Probe) -> None:
        """Start a probe; `gather` passes its answers to the probe and does not return them."""
        self._probes.update(dict.fromkeys(probe.keys, probe))
        self._submit(probe.requests(self._sampling, seed=request_seed(self._seed, probe.name)))

    def gather(self, *, timeout_s: float) -> list[RolloutGroup]:
        """Return the groups that were completed since the last call, in any order; wait up to `timeout_s` for progress.

        Raises:
            DeadlineError: nothing was generated or scored for `stall_timeout_s`.
        """
        awaited = "responses of the engines" if self._generating else "verdicts of the verifiers"
        with WAITS.until(awaited, since_s=self._last_progress, timeout_s=self._stall_timeout_s):
            if self._generating:
                wait_s = 0.0 if any(future.done() for future in self._scoring) else timeout_s
                self._file(self._generator.poll(wait_s))
            elif self._scoring:
                wait(self._scoring, timeout=timeout_s, return_when=FIRST_COMPLETED)
            done = [future for future in self._scoring if future.done()]
            judged = [one for future in done for one in future.result()]
            self._scoring = [future for future in self._scoring if future not in done]
            if done or self._breaker.paused:  # a pause has its own time limit
                self._last_progress = time.monotonic()
            elif self.in_flight and time.monotonic() - self._last_progress > self._stall_timeout_s:
                raise self._overdue()
        if judged:
            WAITS.note("verdicts")
        return self._completed_by(judged)

    def _overdue(self) -> DeadlineError:
        waiting = ", ".join(sorted([*self._open, *self._probes])[:5])
        return DeadlineError(
            f"no response was finished or scored for {self._stall_timeout_s:g} s; waiting for {self.in_flight} "
            f"groups ({waiting} ...): look at the rollout actors' logs, or raise step_timeout_s in the cluster file"
        )

    def close(self) -> None:
        """Stop scoring."""
        self._breaker.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, requests: Sequence[GenerationRequest]) -> None:
        self._generator.submit(requests)
        self._generating += len(requests)
        self._last_progress = time.monotonic()

    def _file(self, completions: Sequence[Completion]) -> None:
        if not completions:
            return
        self._last_progress = time.monotonic()
        WAITS.note("responses")
        self._generating -= len(completions)
        for completion in completions:
            key, place = completion.key
            if key in self._probes:
                self._probes.pop(key).file(completion)
                continue
            group = self._open[key]
            assert place not in group.episodes, f"sample {place} of {key} came twice"
            group.episodes[place] = episode = single_turn(group.prompt, completion)
            one = _unscored(key, group, episode)
            if not self._scorer.by_group(one.sample):
                self._unscored.append([one])
            elif len(group.episodes) == self._samples:
                ordered = [group.episodes[place] for place in range(self._samples)]
                self._unscored.append([_unscored(key, group, each) for each in ordered])
        # A call that has not started yet will take these samples too.
        if all(future.running() or future.done() for future in self._scoring):
            self._scoring.append(self._executor.submit(self._score_what_waits))

    def _score_what_waits(self) -> list[_Judged]:
        waiting = [one for _ in range(len(self._unscored)) for one in self._unscored.popleft()]
        if not waiting:
            return []
        began_s = time.monotonic()
        with WAITS.until(f"verdicts of {len(waiting)} samples", timeout_s=self._stall_timeout_s):
            verdicts = self._breaker.judge(self._scorer, [one.sample for one in waiting])
        self.scoring_s += time.monotonic() - began_s
        assert len(verdicts) == len(waiting), "a scorer returns one verdict a sample"
        return [_Judged(one.group, one.place, verdict) for one, verdict in zip(waiting, verdicts, strict=True)]

    def _completed_by(self, judged: Iterable[_Judged]) -> list[RolloutGroup]:
        completed: list[RolloutGroup] = []
        for key, place, verdict in judged:
            group = self._open[key]
            group.verdicts[place] = verdict
            if len(group.verdicts) == self._samples:
                del self._open[key]
                self.faults.update(one.fault for one in group.verdicts.values() if one.fault is not None)
                completed.append(_scored_group(group))
        return completed


def collect_all(
    prompts: Sequence[Prompt], collector: Collector, *, on_progress: Callable[[int], None]
) -> list[RolloutGroup]:
    """Return one scored group per prompt, in the order of the prompts; for evaluation and preference pairs."""
    collector.issue(enumerate(prompts), step=None)
    groups: list[RolloutGroup] = []
    while len(groups) < len(prompts):
        groups += collector.gather(timeout_s=_POLL_S)
        on_progress(len(groups))
    refuse_if_nothing_was_judged(groups)
    return sorted(groups, key=lambda group: group.index)


def _scored_group(group: _OpenGroup) -> RolloutGroup:
    order = range(len(group.episodes))
    return RolloutGroup(
        prompt=group.prompt,
        index=group.index,
        episodes=tuple(group.episodes[place] for place in order),
        verdicts=tuple(group.verdicts[place] for place in order),
    )


def _unscored(key: str, group: _OpenGroup, episode: Episode) -> _Unscored:
    prompt = group.prompt
    sample = Sample(
        id=f"{key}#{episode.sample}",
        prompt=group.question,
        response=episode.response,
        gold=prompt.gold,
        meta=prompt.meta,
        dataset=prompt.dataset,
        finish=episode.finish,
        token_count=episode.trained_count,
        group=key,
        step=group.step,
    )
    return _Unscored(key, sample, episode.sample)
