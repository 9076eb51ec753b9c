"""Measures the cost of a weight sync: writing, pulling, and the engine's lost time, for models of about 3 M and 50 M
parameters.

One engine runs on CPU in this process, idle or with 64 responses in progress, with the KV cache kept or recomputed.
Figures are medians of `--syncs` syncs each, in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Generator as Yields
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rlpost.engine_records import PublishReport, WeightManifest
from rlpost.interfaces import Learner
from rlpost.records import GenerationRequest, Sampling
from rlpost.rollout.vllm_settings import engine_environment
from rlpost.weight_file import write_weight_file
from rlpost.weight_sync.store import SharedMemoryStore, default_directory

if TYPE_CHECKING:
    from rlpost.rollout.vllm_generator import VllmGenerator

SHAPES: dict[str, dict[str, int]] = {
    "3M": {"vocab_size": 2048, "hidden_size": 256, "layers": 4, "heads": 8, "head_dim": 32},
    "50M": {"vocab_size": 2048, "hidden_size": 768, "layers": 9, "heads": 12, "head_dim": 64},
}
UNDER_WAY = 64
LENGTH = 512


@dataclass
class StateWriter:
    """The part of a learner that a weight store uses."""

    state: dict[str, Any]

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        """Write the same weights under another version."""
        return write_weight_file(self.state, path, version=version)


def requests(count: int, *, first: int) -> list[GenerationRequest]:
    """Make long responses, so that all of them are in progress during a sync."""
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_tokens=LENGTH - 64, stop_token_ids=())
    prompts = np.random.default_rng(0).integers(2, 258, (count, 40)).astype(np.int32)
    return [
        GenerationRequest(key=(str(first + index), 0), prompt_token_ids=prompts[index], sampling=sampling, seed=index)
        for index in range(count)
    ]


@contextmanager
def engine_of(model_dir: Path, *, parameters: int) -> Yields[tuple[VllmGenerator, SharedMemoryStore]]:
    """Start an engine that serves `model_dir`, with its store."""
    from rlpost.rollout.vllm_generator import VllmGenerator
    from rlpost.settings import EngineSettings

    generator = VllmGenerator(
        EngineSettings(
            model_dir=str(model_dir),
            device="cpu",
            tensor_parallel=1,
            max_length=LENGTH,
            max_concurrent=UNDER_WAY,
            kv_cache_mib=2048 if parameters > 10_000_000 else 256,
            memory_fraction=0.5,
            trust_remote_code=False,
            dtype="float32",
            weight_version=0,
            lora_rank=None,
            lora_versions=1,
        ),
        name="benchmark",
    )
    store = SharedMemoryStore(default_directory("benchmark-weight-sync", byte_count=4 * parameters), generator)
    try:
        yield generator, store
    finally:
        store.close()
        generator.close()


def summary(reports: list[PublishReport]) -> dict[str, float]:
    """Return medians; `engine_s` is the time in which the engine took no steps."""
    return {
        "write_s": statistics.median(report.write_seconds for report in reports),
        "pull_s": statistics.median(report.pull_seconds for report in reports),
        "engine_s": statistics.median(report.receipts[0].seconds for report in reports),
        "slowest_s": max(report.seconds for report in reports),
    }


def measure(shape: str, syncs: int, folder: Path) -> dict[str, Any]:
    """Measure all figures of one model."""
    # Beside this folder, on the path that main sets.
    import tiny_models  # pyright: ignore[reportMissingImports] from tests/

    tests = cast(Any, tiny_models)
    model_dir: Path = tests.save_tiny_model(folder / shape, tied=True, seed=0, **SHAPES[shape])
    model = tests.tiny_qwen3(0, tied=True, **SHAPES[shape])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    learner = cast(Learner, StateWriter(dict(model.state_dict())))
    figures: dict[str, Any] = {"parameters": parameters}
    version = 0
    with engine_of(model_dir, parameters=parameters) as (generator, store):
        for name, under_way, keep in (("idle", 0, False), ("recompute", UNDER_WAY, False), ("keep", UNDER_WAY, True)):
            reports: list[PublishReport] = []
            for _ in range(syncs + 1):
                version += 1
                missing = under_way - sum(load.running + load.waiting for load in generator.loads())
                generator.submit(requests(max(0, missing), first=version * UNDER_WAY))
                generator.poll(0.2)
                reports.append(store.publish(learner, version=version, keep_kv_cache=keep).result())
            figures[name] = summary(reports[1:])
            while any(load.running + load.waiting for load in generator.loads()):
                generator.poll(1.0)
    return figures


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--syncs", type=int, default=10)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    with tempfile.TemporaryDirectory() as folder:
        figures = {shape: measure(shape, arguments.syncs, Path(folder)) for shape in SHAPES}
    print(json.dumps({"threads": 1, "syncs": arguments.syncs, **figures}, indent=2))


if __name__ == "__main__":
    os.environ.update(engine_environment("cpu", 1) | {"HF_HUB_OFFLINE": "1"})
    main()
