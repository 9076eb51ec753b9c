"""The RL loop over a real engine, a real learner and real verifiers, in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from learner_ranks import TIMEOUT_S, free_port, rank_environment
from safetensors.torch import load_file
from small_run import recipe_document, recipe_of
from torch.distributed.device_mesh import DeviceMesh
from whole_runs import records

from rlpost.interfaces import Generator, Learner, Scorer
from rlpost.learner.local import LocalLearner
from rlpost.learner.process_group import join_process_group
from rlpost.pipeline.prepare import prepare
from rlpost.pipeline.run_directory import RunDirectory
from rlpost.recipe.schema import ClusterConfig, PreparationRole
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import RolloutGroup, Sample, Verdict
from rlpost.rollout.collector_thread import CollectorThread
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.settings import EngineSettings, LearnerSettings
from rlpost.stages.context import StageContext
from rlpost.stages.rl import sampling as sampling_module
from rlpost.stages.rl.loop import run_rl
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.console import Console
from rlpost.weight_file import manifest_of_model_dir
from rlpost.weight_sync.store import SharedMemoryStore

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
STEPS = 6


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in rank_environment(0, 1, free_port()).items():
            patch.setenv(name, value)
        yield join_process_group("cpu", timeout_s=TIMEOUT_S, store=None)
    if dist.is_initialized():  # An engine that shuts down in this process takes the group with it.
        dist.destroy_process_group()
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rl")


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    document = recipe_document(folder)
    document["stages"] = [document["stages"][-1]]
    document["stages"][0] |= {"steps": STEPS, "sampling": {"max_tokens": 12}, "optimizer": {"learning_rate": 3e-3}}
    return document


class DigitScorer:
    """Rewards even digits, so that a random model has something to learn."""

    def by_group(self, sample: Sample) -> bool:
        return False

    def score(self, samples: list[Sample]) -> list[Verdict]:
        return [Verdict(score=sum(c in "02468" for c in sample.response) / 12) for sample in samples]


class LocalParts:
    """`stages.context.Parts` inside this process."""

    def __init__(self, generator: VllmGenerator, mesh: DeviceMesh, directory: Path) -> None:
        self.generator: Generator = generator
        self.scorer: Scorer = DigitScorer()
        self.weights = SharedMemoryStore(directory, generator)
        self._mesh = mesh

    def prepare(self, model_dir: Path) -> None:
        pass

    def build_learner(self, settings: LearnerSettings) -> Learner:
        return LocalLearner(settings, self._mesh)

    def serve(self, model_dir: Path) -> None:
        self.generator.pull_weights(manifest_of_model_dir(model_dir, version=0), keep_kv_cache=False)


class Harness:
    def __init__(
        self, document: dict[str, Any], folder: Path, mesh: DeviceMesh, *, lora_rank: int | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        recipe = recipe_of(document)
        run = RunDirectory(folder / "run")
        run.claim(recipe.name, fresh=False)
        self.data = prepare(
            recipe, run, Console(), where=PreparationRole(cache_dir=str(run.root.parent / "cache"))
        ).data
        self.model_dir = run.base.final / "model"
        self._document, self._folder, self._mesh = document, folder, mesh
        self.generator = VllmGenerator(
            EngineSettings(
                model_dir=str(self.model_dir),
                device="cpu",
                tensor_parallel=1,
                max_length=48,
                max_concurrent=16,
                kv_cache_mib=32,
                memory_fraction=0.5,
                trust_remote_code=False,
                dtype="float32",
                weight_version=0,
                lora_rank=lora_rank,
                lora_versions=4,
            ),
            name="local",
        )

    def run(self, name: str, **changes: Any) -> Path:
        """One stage with these changes, from the base model; returns its folder."""
        document = json.loads(json.dumps(self._document))
        document["stages"][0] |= changes
        if changes.get("kind") == "ppo":
            document["stages"][0].pop("advantage", None)
        document["deterministic"] = changes.get("max_staleness", 0) == 0
        recipe = recipe_of(document)
        stage = recipe.stages[0]
        assert isinstance(stage, GrpoStage | PpoStage)
        directory = self._folder / name
        directory.mkdir()
        parts = LocalParts(self.generator, self._mesh, directory / "weights")
        context = StageContext(
            recipe=recipe,
            cluster=ClusterConfig(name="here", step_timeout_s=60),
            stage=stage,
            parent_dirs={"start": (self.model_dir,)},
            directory=directory,
            output_dir=directory / "model",
            data=self.data,
            parts=parts,
            console=Console(),
            stop=StopRequest(()),
        )
        run_rl(context, stage)
        parts.weights.close()
        return directory


@pytest.fixture(scope="module")
def harness(document: dict[str, Any], folder: Path, mesh: DeviceMesh) -> Iterator[Harness]:
    harness = Harness(document, folder, mesh)
    yield harness
    harness.generator.close()


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model" / "model.safetensors")


def assert_same_bits(first: Path, second: Path) -> None:
    assert [r["loss"] for r in records(first / "metrics.jsonl")] == [
        r["loss"] for r in records(second / "metrics.jsonl")
    ]
    expected = weights_of(first)
    found = weights_of(second)
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


class InOrder(CollectorThread):
    """The collector without its thread: a take first issues, then generates, then scores, then hands over."""

    def start(self) -> None:
        take = self._buffer.take

        def in_order_take(*, version: int, timeout_s: float) -> list[RolloutGroup]:
            while self._buffer.version < version:  # Engines pull in the background.
                time.sleep(0.01)
            while indices := self._buffer.reserve(timeout_s=0.0):
                self._issue(indices)
                while self._collector.in_flight:
                    for group in self._collector.gather(timeout_s=0.25):
                        self._hand_over(group)
            return take(version=version, timeout_s=timeout_s)

        self._buffer.take = in_order_take  # pyright: ignore[reportAttributeAccessIssue] for this test only

    def stop(self) -> None:
        self._buffer.close()
        self._collector.close()


def test_a_synchronous_deterministic_stage_repeats_bit_for_bit(harness: Harness) -> None:
    first, second = harness.run("first"), harness.run("second")
    assert_same_bits(first, second)
    # Credit adds up to 0 over answers of one length, and the loss with it; gradients differ from step to step.
    norms = [record["grad_norm"] for record in records(first / "metrics.jsonl")]
    assert len(norms) == STEPS and len(set(norms)) == STEPS
    start = load_file(harness.model_dir / "model.safetensors")
    moved = max(float((weight - start[name]).abs().max()) for name, weight in weights_of(first).items())
    assert moved > 1e-3


def test_in_order_and_overlapped_execution_give_the_same_bits(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlapped = harness.run("overlapped", dynamic_sampling={"max_refill": 2})
    monkeypatch.setattr(sampling_module, "CollectorThread", InOrder)
    in_order = harness.run("in_order", dynamic_sampling={"max_refill": 2})
    assert_same_bits(overlapped, in_order)


@pytest.mark.parametrize("kv_cache", ["recompute", "keep"])
def test_an_asynchronous_stage_never_trains_on_tokens_older_than_its_bound(harness: Harness, kv_cache: str) -> None:
    directory = harness.run(f"async-{kv_cache}", max_staleness=2, steps=12, kv_cache_on_update=kv_cache)
    steps = records(directory / "metrics.jsonl")
    assert len(steps) == 12
    assert max(step["staleness/max"] for step in steps) <= 2
    assert max(step["staleness/max"] for step in steps) >= 1, "nothing ran ahead, so nothing was tested"
    assert all(sum(v for k, v in s.items() if k.split("/")[-1].isdigit()) == pytest.approx(1) for s in steps)
    checked = [step for step in steps if "parity/max" in step]
    assert steps[0]["parity/max"] < 1e-4 and max(step["parity/max"] for step in checked) < 1e-4


def test_minibatches_epochs_and_a_reference_run_through_the_same_loop(harness: Harness) -> None:
    directory = harness.run(
        "several",
        max_staleness=1,
        minibatches=2,
        epochs=2,
        steps=3,
        kl={"coefficient": 0.05, "estimator": "k3", "refresh_every": 2},
        loss={"kind": "gspo", "clip_low": 3e-4, "clip_high": 4e-4},
    )
    steps = records(directory / "metrics.jsonl")
    assert [step["step"] for step in steps] == [0, 1, 2]
    assert steps[-1]["learning_rate"] > 0
    assert all("kl_reference" in step and "clip_fraction" in step for step in steps)


@pytest.mark.parametrize("staleness", [0, 2])
def test_ppo_trains_its_critic_in_the_same_loop(harness: Harness, staleness: int) -> None:
    directory = harness.run(
        f"ppo-{staleness}",
        kind="ppo",
        max_staleness=staleness,
        samples_per_prompt=2,
        prompts_per_step=8,
        steps=12,
        epochs=2,
        kl={"coefficient": 0.02, "estimator": "k1", "place": "reward"},
        value={"learning_rate": 1e-2, "coefficient": 0.5},
    )
    steps = records(directory / "metrics.jsonl")
    assert steps[-1]["value_loss"] < 0.7 * steps[0]["value_loss"], "a critic that starts at zero gets better"
    assert all(step["critic_grad_norm"] > 0 for step in steps)


def test_the_buffer_of_a_stage_issues_no_prompt_beyond_its_last_step(harness: Harness) -> None:
    harness.run("ending", max_staleness=4, steps=3)
    assert harness.generator.poll(0.2) == []
    assert sum(load.running + load.waiting for load in harness.generator.loads()) == 0


def test_adapters_alone_reach_the_engine_and_are_what_the_learner_has(
    document: dict[str, Any], folder: Path, mesh: DeviceMesh
) -> None:
    harness = Harness(document, folder / "adapters", mesh, lora_rank=4)
    try:
        lora = {"rank": 4, "alpha": 8, "sync": "adapter"}
        for name, staleness in (("synchronous", 0), ("asynchronous", 2)):
            directory = harness.run(name, lora=lora, max_staleness=staleness, steps=8)
            steps = records(directory / "metrics.jsonl")
            assert len(steps) == 8
            assert max(step["parity/max"] for step in steps if "parity/max" in step) < 1e-4
            assert steps[-1]["sync_bytes"] < 20_000, "an adapter, not a model"
            assert max(step["staleness/max"] for step in steps) <= staleness
            assert (directory / "model" / "adapter" / "adapter_model.safetensors").exists()
    finally:
        harness.generator.close()
