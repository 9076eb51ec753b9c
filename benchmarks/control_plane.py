"""Measures the cost of a sample between generator and train batch, at 8, 64 and 512 generators of 64 slots each.

It is an event simulation: the generators are scripted and live in virtual time, where the duration of a response
follows from its length (lognormal, mean 60 tokens, at most 512) and a lognormal speed. Everything else is the real
code, with its real threads: collector, hand-over to a scorer (whose verdict is a lookup), ledger, buffer, dynamic
sampling, advantages (GRPO) and packing into a TrainBatch. The process is pinned to one core.

A cost is the processor time of all threads between two calls of `take`, minus that of the simulated generators, which
is measured separately. Responses are drawn before the measurement. A sample counts once it is scored.

    .venv/bin/python benchmarks/control_plane.py [--generators 8 64 512] [--samples 60000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from rlpost.data.samplers import SampledRows, sampler_of
from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.interfaces import Learner
from rlpost.recipe.optimizer import OptimizerConfig
from rlpost.recipe.rewards import OnFaultsConfig
from rlpost.recipe.sections import SamplingConfig
from rlpost.recipe.stages import GrpoStage
from rlpost.records import Completion, GenerationRequest, Message, Prompt, Sample, Verdict, VersionSpan
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.collector import Collector
from rlpost.rollout.collector_thread import CollectorThread
from rlpost.rollout.dynamic_sampling import SignalFilter
from rlpost.rollout.faults import CircuitBreaker
from rlpost.rollout.issue_order import IssueOrder
from rlpost.rollout.ledger import PromptLedger
from rlpost.rollout.quarantine import Quarantine
from rlpost.stages.rl.batch import advantage_for, train_batches
from rlpost.stages.rl.loop import loss_of
from rlpost.stages.rl.scores import shaped_scores

SLOTS, GROUP_SIZE, MAX_STALENESS = 64, 8, 2
MEAN_TOKENS, MAX_TOKENS, LENGTH_SIGMA = 60, 512, 0.8
SECONDS_PER_TOKEN, SPEED_SIGMA = 0.02, 0.3
WARM_UP_STEPS = 4
TICK_S = 0.02
"""Virtual time between two polls."""
BAR_SAMPLES_PER_S, BAR_COST_RATIO = 5_000, 1.25
PROMPTS = [
    Prompt(
        id=f"sums/{number}",
        dataset="sums",
        messages=(Message(role="user", content=f"question {number}"),),
        token_ids=np.arange(2, 26, dtype=np.int32),
        # Every fourth prompt gives all its samples one score.
        gold="easy" if number % 4 == 0 else "mixed",
        meta={},
    )
    for number in range(4096)
]
ROWS = SampledRows([prompt.id for prompt in PROMPTS])


class Response(NamedTuple):
    """The response of a simulated engine, drawn beforehand."""

    token_ids: np.ndarray[Any, np.dtype[np.int32]]
    logprobs_T: np.ndarray[Any, np.dtype[np.float32]]
    text: str
    seconds: float


def draw_responses(count: int, *, seed: int) -> list[Response]:
    """Draw lognormal lengths with mean MEAN_TOKENS, and lognormal speeds with median SECONDS_PER_TOKEN."""
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(np.log(MEAN_TOKENS) - LENGTH_SIGMA**2 / 2, LENGTH_SIGMA, count)
    responses: list[Response] = []
    for length in np.clip(lengths.round(), 1, MAX_TOKENS).astype(int).tolist():
        token_ids = rng.integers(4, 30_000, length, dtype=np.int32)
        seconds = length * SECONDS_PER_TOKEN * rng.lognormal(0, SPEED_SIGMA)
        logprobs_T = rng.normal(-1, 0.3, length).astype(np.float32)
        responses.append(Response(token_ids, logprobs_T, "x" * length, seconds))
    return responses


class SimulatedGenerators:
    """A `Generator` in virtual time with the slots of all engines and one queue. It adds up its processor time."""

    def __init__(self, responses: Sequence[Response], *, slots: int) -> None:
        self.version = 0
        self.thread_s = 0.0
        self._responses, self._free = responses, slots
        self._now, self._submitted = 0.0, 0
        self._queue: deque[GenerationRequest] = deque()
        self._running: list[tuple[float, int, GenerationRequest, int]] = []

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Queue the requests."""
        started = time.thread_time()
        self._queue.extend(requests)
        self._fill_slots()
        self.thread_s += time.thread_time() - started

    def poll(self, timeout_s: float) -> list[Completion]:
        """Return the responses that finish within the next tick of virtual time; never wait in real time."""
        del timeout_s
        started = time.thread_time()
        self._now += TICK_S
        finished: list[Completion] = []
        while self._running and self._running[0][0] <= self._now:
            _, number, request, version = heapq.heappop(self._running)
            finished.append(self._rollout(number, request, version))
            self._free += 1
        self._fill_slots()
        self.thread_s += time.thread_time() - started
        return finished

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        """Unused here."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Unused here."""
        raise NotImplementedError

    def loads(self) -> list[EngineLoad]:
        """Unused here."""
        raise NotImplementedError

    def _fill_slots(self) -> None:
        while self._free and self._queue:
            self._free -= 1
            self._submitted += 1
            seconds = self._responses[self._submitted % len(self._responses)].seconds
            entry = (self._now + seconds, self._submitted, self._queue.popleft(), self.version)
            heapq.heappush(self._running, entry)

    def _rollout(self, number: int, request: GenerationRequest, version: int) -> Completion:
        response = self._responses[number % len(self._responses)]
        return Completion(
            key=request.key,
            token_ids=response.token_ids,
            logprobs_T=response.logprobs_T,
            version_spans=(VersionSpan(start=0, stop=len(response.token_ids), version=version),),
            finish="stop",
            text=response.text,
            seconds=response.seconds,
        )


class LookupScorer:
    """A `Scorer` that costs almost nothing, so that only the way to it and back is measured."""

    def __init__(self) -> None:
        self.scored = 0

    def by_group(self, sample: Sample) -> bool:
        """Score each sample by itself."""
        return False

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """Give easy prompts a constant score, and others one that depends on whether the response's length is odd."""
        self.scored += len(samples)
        return [_VERDICTS[sample.token_count % 2 if sample.gold == "mixed" else 1] for sample in samples]


_VERDICTS = (Verdict(score=0.0), Verdict(score=1.0))


def stage_of(generators: int) -> GrpoStage:
    """Make a stage whose step trains half as many samples as there are slots, so that half as many again wait for a
    slot.
    """
    return GrpoStage(
        kind="grpo",
        name="rl",
        data=["sums"],
        steps=1,
        prompts_per_step=generators * SLOTS // GROUP_SIZE // 2,
        samples_per_prompt=GROUP_SIZE,
        sampling=SamplingConfig(max_tokens=MAX_TOKENS),
        optimizer=OptimizerConfig(learning_rate=1e-5),
        max_staleness=MAX_STALENESS,
    )


def collector_of(stage: GrpoStage, engines: SimulatedGenerators, scorer: LookupScorer) -> Collector:
    """Make a collector as in a run."""
    return Collector(
        engines,
        scorer,
        samples=GROUP_SIZE,
        sampling=stage.sampling.sampling((1,)),
        seed="0/rl",
        stall_timeout_s=60,
        breaker=CircuitBreaker(OnFaultsConfig(), say=print),
    )


def measure(generators: int, responses: Sequence[Response], *, samples: int) -> dict[str, float]:
    """Run until `samples` were scored between two takes, after the first few steps."""
    stage, scorer = stage_of(generators), LookupScorer()
    engines = SimulatedGenerators(responses, slots=generators * SLOTS)
    buffer = RolloutBuffer(
        prompts_per_step=stage.prompts_per_step,
        max_staleness=MAX_STALENESS,
        version=0,
        last_version=10**6,
        ledger=PromptLedger(),
        order=IssueOrder(sampler_of(stage.sampler, ROWS, seed=0, rows_per_step=stage.prompts_per_step)),
    )
    thread = CollectorThread(
        collector_of(stage, engines, scorer),
        buffer,
        prompt_of=PROMPTS.__getitem__,
        keep=SignalFilter(buffer, max_refill=10.0, scores=partial(shaped_scores, stage=stage)),
        quarantine=Quarantine(None),
    )
    columns, advantage = loss_of(stage).columns, advantage_for(stage)
    learner = cast("Learner", None)  # GRPO without a penalty, one optimizer step a batch: nothing is looked up.
    thread.start()
    version, packed, start = 0, 0, None
    try:
        while start is None or scorer.scored - start[0] < samples:
            groups = buffer.take(version=version, timeout_s=60)
            batches = train_batches(
                groups, learner, stage, columns=columns, advantage=advantage, version=version, seed=0
            )
            packed += sum(len(batch.row_lengths_B) for _, batch in batches)
            version += 1
            engines.version = version
            buffer.advance(version)
            if version == WARM_UP_STEPS:
                start = (scorer.scored, time.process_time(), time.perf_counter(), engines.thread_s)
                packed = 0
        scored, process_s, wall_s, simulated_s = (
            scorer.scored - start[0],
            time.process_time() - start[1],
            time.perf_counter() - start[2],
            engines.thread_s - start[3],
        )
    finally:
        thread.stop()
    cost_s = process_s - simulated_s
    return {
        "generators": generators,
        "slots": generators * SLOTS,
        "steps": version - WARM_UP_STEPS,
        "scored_samples": scored,
        "packed_rows": packed,
        "dropped_groups": sum(buffer.cut().state["dropped"].values()),
        "cost_us_per_sample": round(1e6 * cost_s / scored, 1),
        "simulation_us_per_sample": round(1e6 * simulated_s / scored, 1),
        "scored_samples_per_s": round(scored / cost_s),
        "waiting_share_of_wall": round(1 - process_s / wall_s, 3),
    }


def report(sizes: Sequence[int], *, samples: int, rounds: int) -> dict[str, Any]:
    """Measure all sizes in turn, `rounds` times; report each size's round of median cost, and the bars."""
    responses = draw_responses(8192, seed=0)
    measured = [[measure(size, responses, samples=samples) for size in sizes] for _ in range(rounds)]
    costs = [[size["cost_us_per_sample"] for size in one_round] for one_round in measured]
    ratio = statistics.median(round_costs[-1] / round_costs[0] for round_costs in costs)
    middle = [
        sorted(of_one_size, key=lambda one: one["cost_us_per_sample"])[rounds // 2]
        for of_one_size in zip(*measured, strict=True)
    ]
    per_second = middle[-1]["scored_samples_per_s"]
    return {
        "rounds": rounds,
        "sizes": middle,
        "cost_us_per_sample_of_each_round": costs,
        "bars": {
            "scored_samples_per_s_at_largest": {
                "bar": BAR_SAMPLES_PER_S,
                "measured": per_second,
                "met": per_second >= BAR_SAMPLES_PER_S,
            },
            "cost_of_largest_over_smallest": {
                "bar": BAR_COST_RATIO,
                "measured": round(ratio, 3),
                "met": ratio <= BAR_COST_RATIO,
            },
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--samples", type=int, default=60_000, help="least scored samples to measure, for each size")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result = report(options.generators, samples=options.samples, rounds=options.rounds)
    json.dump(result, sys.stdout, indent=2)
    print()
