from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from engine_probe import a_request, ask, collect, start_generator, transformers_logprobs
from numpy.typing import NDArray
from tiny_models import save_tiny_model, tiny_qwen3
from transformers import PreTrainedModel

from rlpost.records import Completion, GenerationRequest, VersionSpan
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.weight_file import manifest_of_model_dir

pytestmark = pytest.mark.engine
TOLERANCE = 1e-4
CONCURRENT = 64
"""Of the engine in engine_probe; whatever is beyond waits inside vLLM."""
VERSIONS = 5
"""Different weights, which come round again."""


@dataclass
class Bench:
    """An engine, and the folders and models of the weights that it is given in turn."""

    generator: VllmGenerator
    folder: Path
    models: list[PreTrainedModel]
    """Built before the engine works: both draw from torch's one generator of random numbers."""
    version: int = 0

    def pull_next(self, *, keep_kv_cache: bool) -> None:
        self.version += 1
        manifest = manifest_of_model_dir(self.folder / str(self.version % VERSIONS), version=self.version)
        self.generator.pull_weights(manifest, keep_kv_cache=keep_kv_cache)

    def error_T(self, request: GenerationRequest, rollout: Completion, version: int) -> NDArray[np.float32]:
        """Distance of every token's log-probability from that under these weights alone."""
        expected = transformers_logprobs(self.models[version % VERSIONS], request, rollout, temperature=1.0)
        return np.abs(rollout.logprobs_T - expected)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("load")
    for seed in range(VERSIONS):
        save_tiny_model(folder / str(seed), tied=True, seed=seed)
    models: list[PreTrainedModel] = [tiny_qwen3(seed, tied=True) for seed in range(VERSIONS)]
    generator = start_generator(folder / "0", weight_version=0)
    yield Bench(generator=generator, folder=folder, models=models)
    generator.close()


def requests_of(count: int, *, first: int = 0, prompt_length: int = 70) -> list[GenerationRequest]:
    return [
        a_request(f"{first + index}", seed=first + index, prompt_length=prompt_length, max_tokens=150 + index)
        for index in range(count)
    ]


def run_through_updates(
    bench: Bench, requests: list[GenerationRequest], *, keep_kv_cache: bool
) -> dict[str, Completion]:
    """Submit all, pull three times while they run, and take every rollout exactly once."""
    bench.generator.submit([a_request("short", seed=999, max_tokens=10), *requests])
    rollouts = collect(bench.generator, 1)
    deadline = time.monotonic() + 60
    for _ in range(3):
        bench.pull_next(keep_kv_cache=keep_kv_cache)
        tokens = bench.generator.loads()[0].tokens
        while bench.generator.loads()[0].tokens < tokens + 10 * CONCURRENT and time.monotonic() < deadline:
            time.sleep(0.005)
    keys = [rollout.key[0] for rollout in rollouts.values()]
    while len(keys) <= len(requests):
        assert time.monotonic() < deadline
        for rollout in bench.generator.poll(1.0):
            keys.append(rollout.key[0])
            rollouts[rollout.key[0]] = rollout
    assert sorted(keys) == sorted([request.key[0] for request in requests] + ["short"])
    assert bench.generator.poll(0.1) == []
    return rollouts


def assert_spans_cover(rollout: Completion) -> None:
    spans = rollout.version_spans
    assert spans[0].start == 0
    assert spans[-1].stop == len(rollout.token_ids)
    assert all(one.stop == other.start for one, other in pairwise(spans))
    versions = [span.version for span in spans]
    assert versions == sorted(set(versions))


def test_recomputed_responses_agree_with_the_weights_of_each_span(bench: Bench) -> None:
    start = bench.version
    requests = requests_of(CONCURRENT + 8)
    rollouts = run_through_updates(bench, requests, keep_kv_cache=False)
    crossed = 0
    for request in requests:
        rollout = rollouts[request.key[0]]
        assert_spans_cover(rollout)
        assert len(rollout.token_ids) == request.sampling.max_tokens
        crossed += len(rollout.version_spans) == 4
        for span in rollout.version_spans:
            assert start <= span.version <= bench.version
            error_T = bench.error_T(request, rollout, span.version)
            assert error_T[span.start : span.stop].max() <= TOLERANCE
            if len(rollout.version_spans) > 1:
                assert np.delete(error_T, slice(span.start, span.stop)).max() > 0.5
    assert crossed >= CONCURRENT // 2


def test_kept_responses_agree_with_the_old_weights_before_the_switch_and_go_on_from_old_keys(bench: Bench) -> None:
    running = requests_of(CONCURRENT, first=100)
    waiting = [
        replace(late, prompt_token_ids=early.prompt_token_ids)
        for late, early in zip(requests_of(8, first=200), running, strict=False)
    ]
    requests = running + waiting
    rollouts = run_through_updates(bench, requests, keep_kv_cache=True)
    begun_later = 0
    for request in requests:
        rollout = rollouts[request.key[0]]
        assert_spans_cover(rollout)
        first, *later = rollout.version_spans
        assert bench.error_T(request, rollout, first.version)[first.start : first.stop].max() <= TOLERANCE
        for span in later:
            assert bench.error_T(request, rollout, span.version)[span.start : span.stop].max() > 0.01
        begun_later += first.version == bench.version
    # The last ones waited inside vLLM through the updates, beside blocks of their own prompts under older weights.
    assert begun_later == len(waiting)


@pytest.mark.parametrize("keep_kv_cache", [False, True])
def test_a_prompt_that_is_cached_under_other_weights_is_computed_anew(bench: Bench, keep_kv_cache: bool) -> None:
    asked = [a_request("same", seed=7, prompt_length=100)]
    background = requests_of(8, first=300)
    ask(bench.generator, asked)
    bench.generator.submit(background)
    bench.pull_next(keep_kv_cache=keep_kv_cache)
    bench.generator.submit(asked)
    rollouts = collect(bench.generator, len(background) + 1)
    again = rollouts["same"]
    assert again.version_spans == (VersionSpan(start=0, stop=24, version=bench.version),)
    assert bench.error_T(asked[0], again, bench.version).max() <= TOLERANCE


def test_an_update_does_not_count_as_preemption_and_loads_tell_what_goes_on(bench: Bench) -> None:
    before = bench.generator.loads()[0]
    bench.generator.submit(requests_of(CONCURRENT + 8, first=500))
    assert bench.generator.loads()[0].waiting + bench.generator.loads()[0].running > 0
    collect_one_step(bench, before.tokens)
    busy = bench.generator.loads()[0]
    assert (busy.generator, busy.version) == ("probe", bench.version)
    assert 0 < busy.running <= CONCURRENT
    assert busy.running + busy.waiting == CONCURRENT + 8
    assert 0 < busy.kv_cache_use < 0.5
    bench.pull_next(keep_kv_cache=False)
    assert bench.generator.loads()[0].version == bench.version
    rollouts = collect(bench.generator, CONCURRENT + 8)
    idle = bench.generator.loads()[0]
    assert (idle.running, idle.waiting, idle.kv_cache_use) == (0, 0, 0.0)
    assert idle.preemptions == before.preemptions == 0
    assert idle.tokens - before.tokens == sum(len(rollout.token_ids) for rollout in rollouts.values())
    assert idle.busy_s > before.busy_s


def collect_one_step(bench: Bench, tokens: int) -> None:
    deadline = time.monotonic() + 10
    while bench.generator.loads()[0].tokens <= tokens:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_limit_grows_with_use_to_what_vllm_takes(bench: Bench) -> None:
    for _ in range(2):
        requests = [a_request(str(seed), seed=seed, max_tokens=5) for seed in range(2 * CONCURRENT)]
        ask(bench.generator, requests)
    assert bench.generator.loads()[0].limit == CONCURRENT
