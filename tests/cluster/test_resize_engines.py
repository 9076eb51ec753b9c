"""Real engines come and go under load, and nobody can tell from the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import ray
from engine_probe import MAX_LENGTH, a_request
from tiny_models import save_tiny_model, tiny_qwen3

from rlpost.cluster.generator_pool import GeneratorPool
from rlpost.cluster.placement import Placement
from rlpost.recipe.schema import ClusterConfig, RolloutRole
from rlpost.records import Completion, GenerationRequest
from rlpost.rollout.vllm_settings import engine_environment
from rlpost.settings import EngineSettings
from rlpost.weight_file import write_weight_file

pytestmark = [pytest.mark.ray, pytest.mark.engine, pytest.mark.timeout(240)]


class Served(NamedTuple):
    """A pool of real engines, and what it said."""

    pool: GeneratorPool
    said: list[str]


@pytest.fixture
def served(cluster_of_four: None, tmp_path: Path) -> Iterator[Served]:
    model_dir = save_tiny_model(tmp_path / "model", tied=False, seed=0)
    cluster = ClusterConfig(name="test", cpus=4, rollout=RolloutRole(threads=1), start_timeout_s=120)
    placement, said = Placement(cluster), list[str]()
    pool = GeneratorPool(
        cluster,
        placement,
        engine=EngineSettings(
            model_dir=str(model_dir),
            device="cpu",
            tensor_parallel=1,
            max_length=MAX_LENGTH,
            max_concurrent=16,
            kv_cache_mib=64,
            memory_fraction=0.5,
            trust_remote_code=False,
            dtype="float32",
            weight_version=0,
            lora_rank=None,
            lora_versions=1,
        ),
        environment=engine_environment("cpu", threads=1),
        deterministic=False,
        wanted_actors=lambda: None,
        say=said.append,
    )
    yield Served(pool, said)
    pool.close()
    for engine in pool._roster.engines:
        ray.kill(engine.actor)
    ray.util.remove_placement_group(placement._group)


def hear(pool: GeneratorPool, asked: dict[str, GenerationRequest], answers: dict[str, Completion]) -> None:
    for rollout in pool.poll(0.2):
        prompt = rollout.key[0]
        assert prompt in asked and prompt not in answers, f"{prompt} was answered twice or never asked"
        answers[prompt] = rollout


def test_resizing_under_load_changes_no_answer(served: Served, tmp_path: Path) -> None:
    pool, said = served
    # The second engine starts from the model's folder and must not answer from it.
    manifest = write_weight_file(tiny_qwen3(5, tied=False).state_dict(), tmp_path / "w.safetensors", version=1)
    pool.pull_weights(manifest, keep_kv_cache=False)
    asked: dict[str, GenerationRequest] = {}
    answers: dict[str, Completion] = {}
    ends_s = time.monotonic() + 120

    def keep_busy() -> None:
        assert time.monotonic() < ends_s, said
        while len(asked) - len(answers) < 60:
            request = a_request(f"{len(asked)}:p", seed=len(asked), max_tokens=16)
            asked[request.key[0]] = request
            pool.submit([request])
        hear(pool, asked, answers)

    keep_busy()
    pool.resize(2)
    while len(pool.loads()) < 2 or min(load.tokens for load in pool.loads()) < 500:
        keep_busy()
    assert said == ["rollout actors: 1 -> 2", "rollout actor rollout-1 serves"]
    pool.resize(1)
    while len(pool.loads()) > 1:
        keep_busy()
    while len(answers) < len(asked):
        hear(pool, asked, answers)
    assert answers.keys() == asked.keys()
    assert {rollout.oldest_version for rollout in answers.values()} == {1}

    pool.submit(list(asked.values()))
    again: dict[str, Completion] = {}
    while len(again) < len(asked):
        hear(pool, asked, again)
    for prompt, rollout in answers.items():
        assert np.array_equal(rollout.token_ids, again[prompt].token_ids)
        assert np.array_equal(rollout.logprobs_T, again[prompt].logprobs_T)
