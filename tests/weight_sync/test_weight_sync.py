from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from engine_probe import a_request, ask, collect, start_generator, transformers_logprobs
from tiny_models import save_tiny_model, tiny_qwen3
from torch import Tensor
from transformers import PreTrainedModel

from rlpost.engine_records import WeightManifest
from rlpost.errors import WeightSyncError
from rlpost.interfaces import Learner
from rlpost.records import Completion, GenerationRequest, VersionSpan
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.weight_file import checksum_of, manifest_of_model_dir, write_weight_file
from rlpost.weight_sync.store import SharedMemoryStore, default_directory

pytestmark = pytest.mark.engine
TOLERANCE = 1e-4
SHORT = 7


@dataclass
class ModelWriter:
    """The one thing that a store asks of a learner."""

    model: PreTrainedModel

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        return write_weight_file(self.model.state_dict(), path, version=version)


@dataclass
class Bench:
    """An engine with its store, and the model whose weights it serves."""

    generator: VllmGenerator
    store: SharedMemoryStore
    tied: bool
    version: int = 0

    def model(self, seed: int | None = None) -> PreTrainedModel:
        """The model of one version: its random seed is its version."""
        return tiny_qwen3(self.version if seed is None else seed, tied=self.tied)

    def publish_next(self) -> PreTrainedModel:
        self.version += 1
        model = self.model()
        self.store.publish(cast(Learner, ModelWriter(model)), version=self.version, keep_kv_cache=False).result()
        return model

    def write(self, state: dict[str, Tensor], path: Path) -> WeightManifest:
        """A file of what the next version would be, outside the store."""
        return write_weight_file(state, path, version=self.version + 1)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    tied = bool(request.param)
    model_dir = save_tiny_model(tmp_path_factory.mktemp("sync") / "model", tied=tied, seed=0)
    generator = start_generator(model_dir, weight_version=0, name="g0")
    directory = default_directory(f"test-{tmp_path_factory.getbasetemp().name}-{tied}", byte_count=10**6)
    store = SharedMemoryStore(directory, generator)
    yield Bench(generator=generator, store=store, tied=tied)
    store.close()
    generator.close()
    assert not directory.exists()


def distance(
    model: PreTrainedModel, request: GenerationRequest, rollout: Completion, span: slice = slice(None)
) -> float:
    expected = transformers_logprobs(model, request, rollout, temperature=request.sampling.temperature)
    return float(np.abs(rollout.logprobs_T - expected)[span].max())


def farthest(model: PreTrainedModel, requests: Sequence[GenerationRequest], rollouts: dict[str, Completion]) -> float:
    return max(distance(model, request, rollouts[request.key[0]]) for request in requests)


def assert_still_serves(bench: Bench) -> None:
    """After a refused pull: old weights, old label."""
    request = a_request("after", seed=50)
    rollout = ask(bench.generator, [request])["after"]
    assert rollout.version_spans == (VersionSpan(start=0, stop=24, version=bench.version),)
    assert distance(bench.model(), request, rollout) <= TOLERANCE


def test_after_a_publish_the_engine_agrees_with_the_new_model_and_not_with_the_old(bench: Bench) -> None:
    # Prompts longer than a block of the prefix cache, and asked before and after: stale keys and values would show.
    requests = [a_request(str(seed), seed=seed, prompt_length=300, temperature=0.7) for seed in range(8)]
    old = bench.model()
    assert farthest(old, requests, ask(bench.generator, requests)) <= TOLERANCE
    new = bench.publish_next()
    rollouts = ask(bench.generator, requests)
    assert farthest(new, requests, rollouts) <= TOLERANCE
    assert farthest(old, requests, rollouts) > 0.5
    assert {rollout.version_spans for rollout in rollouts.values()} == {
        (VersionSpan(start=0, stop=24, version=bench.version),)
    }


def test_a_publish_reports_the_engine_s_own_receipt(bench: Bench) -> None:
    bench.version += 1
    writer = cast(Learner, ModelWriter(bench.model()))
    report = bench.store.publish(writer, version=bench.version, keep_kv_cache=False).result()
    (receipt,) = report.receipts
    assert (receipt.generator, receipt.version) == ("g0", bench.version)
    assert report.seconds < 3.0
    print(f"sync of {report.byte_count} bytes: {report.seconds:.3f} s")


def test_responses_in_flight_go_on_with_the_new_weights(bench: Bench) -> None:
    old = bench.model()
    running = [a_request(str(seed), seed=seed, prompt_length=140, max_tokens=300) for seed in range(12)]
    bench.generator.submit([*running, a_request("short", seed=99, max_tokens=SHORT)])
    collect(bench.generator, 1)
    new = bench.publish_next()
    rollouts = collect(bench.generator, len(running))
    for request in running:
        rollout = rollouts[request.key[0]]
        before, after = rollout.version_spans
        assert (before.start, before.stop, after.stop) == (0, after.start, 300)
        assert (before.version, after.version) == (bench.version - 1, bench.version)
        assert before.stop >= SHORT
        assert distance(old, request, rollout, slice(0, before.stop)) <= TOLERANCE
        assert distance(new, request, rollout, slice(after.start, None)) <= TOLERANCE
        assert distance(new, request, rollout, slice(0, before.stop)) > 0.5


@pytest.mark.parametrize("max_shard_size", ["1GB", "100KB"], ids=["one file", "several files"])
def test_a_model_directory_can_be_pulled_tied_or_not(bench: Bench, tmp_path: Path, max_shard_size: str) -> None:
    bench.version += 1
    directory = tmp_path / "artifact"
    tiny_qwen3(bench.version, tied=bench.tied).save_pretrained(directory, max_shard_size=max_shard_size)
    (receipt,) = bench.generator.pull_weights(
        manifest_of_model_dir(directory, version=bench.version), keep_kv_cache=False
    )
    assert receipt.version == bench.version
    requests = [a_request(str(seed), seed=seed) for seed in range(8)]
    assert farthest(bench.model(), requests, ask(bench.generator, requests)) <= TOLERANCE


def test_a_wrong_checksum_is_refused(bench: Bench, tmp_path: Path) -> None:
    manifest = bench.write(bench.model(99).state_dict(), tmp_path / "weights")
    with pytest.raises(WeightSyncError, match=f"must have the checksum {'0' * 32}"):
        bench.generator.pull_weights(replace(manifest, checksum="0" * 32), keep_kv_cache=False)
    assert_still_serves(bench)


def test_a_truncated_file_is_refused_even_if_its_checksum_is_right(bench: Bench, tmp_path: Path) -> None:
    whole = bench.write(bench.model(99).state_dict(), tmp_path / "weights")
    content = Path(whole.path).read_bytes()
    Path(whole.path).write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightSyncError, match="must have the checksum"):
        bench.generator.pull_weights(whole, keep_kv_cache=False)
    with pytest.raises(WeightSyncError, match="must be a safetensors file"):
        bench.generator.pull_weights(replace(whole, checksum=checksum_of(whole.path)), keep_kv_cache=False)
    assert_still_serves(bench)


def test_a_file_that_is_not_there_is_refused(bench: Bench, tmp_path: Path) -> None:
    manifest = bench.write(bench.model(99).state_dict(), tmp_path / "weights")
    with pytest.raises(WeightSyncError, match=r"gone.*does not exist"):
        bench.generator.pull_weights(replace(manifest, path=str(tmp_path / "gone")), keep_kv_cache=False)
    assert_still_serves(bench)


def test_weights_of_another_model_are_refused_before_any_is_loaded(bench: Bench, tmp_path: Path) -> None:
    state = bench.model(99).state_dict()
    norm = "model.layers.1.self_attn.q_norm.weight"
    without = {name: tensor for name, tensor in state.items() if name != norm}
    for changed, complaint in (
        (without, f"1 missing, for example {norm}"),
        ({**state, "model.extra.weight": torch.zeros(3)}, "1 unexpected, for example model.extra.weight"),
        ({**state, norm: torch.ones(5)}, rf"1 of another shape, for example {norm} \(32,\) -> \(5,\)"),
    ):
        manifest = bench.write(changed, tmp_path / "weights")
        with pytest.raises(WeightSyncError, match=complaint):
            bench.generator.pull_weights(manifest, keep_kv_cache=False)
    assert_still_serves(bench)
