from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest
import torch
from engine_probe import a_request, ask, collect, start_generator, transformers_logprobs
from peft import LoraConfig, get_peft_model
from tiny_models import save_tiny_model, tiny_qwen3
from vllm.v1.engine.llm_engine import LLMEngine

from rlpost.engine_records import WeightManifest
from rlpost.errors import WeightSyncError
from rlpost.interfaces import Learner
from rlpost.records import Completion, GenerationRequest, VersionSpan
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.weight_file import manifest_of_adapter, manifest_of_model_dir
from rlpost.weight_sync.store import SharedMemoryStore

pytestmark = pytest.mark.engine
TOLERANCE = 1e-4
RANK = 4


def adapted(version: int, *, base_seed: int = 0) -> Any:
    """A peft model whose adapter is drawn from its version, and far from nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(version)
        config = LoraConfig(r=RANK, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(tiny_qwen3(base_seed, tied=True), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@dataclass
class AdapterWriter:
    """The one thing that a store asks of a learner."""

    model: Any

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        self.model.save_pretrained(path, save_embedding_layers=False)
        return manifest_of_adapter(path, version=version)


@dataclass
class Bench:
    generator: VllmGenerator
    store: SharedMemoryStore
    model_dir: Path
    vllm: LLMEngine
    """Inside the generator; to be asked only while it is idle."""
    version: int = 0

    def publish_next(self, model: Any = None) -> Any:
        """Of a model of its own, or of one that was built before responses were in flight."""
        self.version += 1
        model = model or adapted(self.version)
        writer = cast(Learner, AdapterWriter(model))
        report = self.store.publish(writer, version=self.version, keep_kv_cache=False).result()
        assert [receipt.version for receipt in report.receipts] == [self.version]
        return model


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("adapters")
    model_dir = save_tiny_model(folder / "model", tied=True, seed=0)
    engines: list[LLMEngine] = []
    with pytest.MonkeyPatch.context() as patch:
        start = LLMEngine.from_engine_args

        def remember(*arguments: Any, **named: Any) -> LLMEngine:
            engines.append(start(*arguments, **named))
            return engines[-1]

        patch.setattr(LLMEngine, "from_engine_args", remember)
        generator = start_generator(model_dir, weight_version=0, lora_rank=RANK, lora_versions=2)
    store = SharedMemoryStore(folder / "store", generator)
    yield Bench(generator=generator, store=store, model_dir=model_dir, vllm=engines[0])
    store.close()
    generator.close()


def distance(model: Any, request: GenerationRequest, rollout: Completion) -> float:
    expected = transformers_logprobs(model, request, rollout, temperature=request.sampling.temperature)
    return float(np.abs(rollout.logprobs_T - expected).max())


def whole(rollout: Completion, version: int) -> bool:
    return rollout.version_spans == (VersionSpan(start=0, stop=len(rollout.token_ids), version=version),)


def test_logprobs_are_those_of_the_base_and_then_of_each_adapter(bench: Bench) -> None:
    # Prompts of several blocks, asked again with each adapter: keys and values of another would show.
    requests = [a_request(str(seed), seed=seed, prompt_length=100) for seed in range(6)]
    previous: Any = None
    for version in range(3):
        model = tiny_qwen3(0, tied=True) if version == 0 else bench.publish_next()
        for key, rollout in ask(bench.generator, requests).items():
            request = next(request for request in requests if request.key[0] == key)
            assert whole(rollout, version)
            assert distance(model, request, rollout) <= TOLERANCE
            assert previous is None or distance(previous, request, rollout) > 0.5
        previous = model


def test_responses_in_flight_end_with_the_adapter_that_they_began_with(bench: Bench) -> None:
    # Built here: the engine draws from the same generator of random numbers while it decodes.
    first, second, third = (adapted(bench.version + index) for index in (1, 2, 3))
    bench.publish_next(first)
    running = [a_request(f"a{seed}", seed=seed, max_tokens=200) for seed in range(4)]
    bench.generator.submit([*running, a_request("short", seed=50, max_tokens=5)])
    collect(bench.generator, 1)
    # One version more than may be decoded at a time: the last must wait, and must come all the same.
    bench.publish_next(second)
    middle = [a_request(f"b{seed}", seed=seed, max_tokens=200) for seed in range(4)]
    bench.generator.submit([*middle, a_request("short", seed=51, max_tokens=5)])
    collect(bench.generator, 1)
    bench.publish_next(third)
    late = [a_request(f"c{seed}", seed=seed, max_tokens=30) for seed in range(4)]
    bench.generator.submit(late)
    rollouts = collect(bench.generator, 12)
    newest = bench.version
    parts = ((running, first, newest - 2), (middle, second, newest - 1), (late, third, newest))
    for requests, model, version in parts:
        for request in requests:
            assert whole(rollouts[request.key[0]], version)
            assert distance(model, request, rollouts[request.key[0]]) <= TOLERANCE


def test_an_altered_adapter_is_refused_and_the_one_before_it_stays(bench: Bench, tmp_path: Path) -> None:
    model = bench.publish_next()
    manifest = AdapterWriter(adapted(99)).write_weights(tmp_path / "adapter", version=99)
    with pytest.raises(WeightSyncError, match=f"must have the checksum {'0' * 32}"):
        bench.generator.pull_weights(replace(manifest, checksum="0" * 32), keep_kv_cache=False)
    request = a_request("after", seed=8)
    rollout = ask(bench.generator, [request])["after"]
    assert whole(rollout, bench.version)
    assert distance(model, request, rollout) <= TOLERANCE


def test_a_whole_model_replaces_the_base_and_the_adapter(bench: Bench, tmp_path: Path) -> None:
    bench.publish_next()
    bench.version += 1
    directory = save_tiny_model(tmp_path / "other", tied=True, seed=5)
    manifest = manifest_of_model_dir(directory, version=bench.version)
    bench.generator.pull_weights(manifest, keep_kv_cache=False)
    request = a_request("other base", seed=9, prompt_length=100)
    rollout = ask(bench.generator, [request])["other base"]
    assert whole(rollout, bench.version)
    assert distance(tiny_qwen3(5, tied=True), request, rollout) <= TOLERANCE
    bench.version += 1
    upon_other = adapted(bench.version, base_seed=5)
    writer = cast(Learner, AdapterWriter(upon_other))
    bench.store.publish(writer, version=bench.version, keep_kv_cache=False).result()
    rollout = ask(bench.generator, [request])["other base"]
    assert distance(upon_other, request, rollout) <= TOLERANCE
    back = manifest_of_model_dir(bench.model_dir, version=bench.version)
    bench.generator.pull_weights(back, keep_kv_cache=False)


def test_many_adapters_leave_nothing_behind(bench: Bench) -> None:
    process = psutil.Process()

    def used_after(publications: int) -> int:
        for _ in range(publications):
            bench.publish_next()
            ask(bench.generator, [a_request("p", seed=bench.version, max_tokens=4)])
        return process.memory_full_info().uss

    used_after(5)
    before = used_after(1)
    # An adapter has 60 kB on disk and its peft model here some MB, which are freed in turn.
    assert used_after(20) - before < 10 << 20
    assert len(bench.vllm.list_loras()) == 1


def test_an_engine_without_lora_refuses_an_adapter(tmp_path: Path) -> None:
    model_dir = save_tiny_model(tmp_path / "model", tied=True, seed=0)
    generator = start_generator(model_dir, weight_version=0)
    try:
        manifest = AdapterWriter(adapted(1)).write_weights(tmp_path / "adapter", version=1)
        with pytest.raises(WeightSyncError, match="must be started with lora_rank"):
            generator.pull_weights(manifest, keep_kv_cache=False)
        request = a_request("p", seed=1)
        assert whole(ask(generator, [request])["p"], 0)
    finally:
        generator.close()
