"""Whether an engine that gets new weights again and again, under load, keeps some of them."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from engine_probe import a_request, collect, last_word_of, start_generator
from tiny_models import save_tiny_model

from rlpost.engine_records import WeightManifest
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.weight_file import manifest_of_model_dir

pytestmark = pytest.mark.engine
SYNCS = 200
WARM_UP = 80
MAX_SHARE_A_SYNC = 0.1
"""Growth of memory after the warm-up, in parts of the weights: a sync that keeps a copy adds 1."""


def syncs_under_load(generator: VllmGenerator, manifest: WeightManifest, count: int) -> int:
    """Pull `count` times while responses run, in both ways by turns; the number of responses, none of which is lost."""
    submitted, taken = 0, 0
    for index in range(count):
        if submitted - taken < 32:
            requests = [a_request(str(submitted + seed), seed=seed, max_tokens=40) for seed in range(16)]
            generator.submit(requests)
            submitted += len(requests)
        generator.pull_weights(replace(manifest, version=index), keep_kv_cache=index % 2 == 0)
        taken += len(generator.poll(0.02))
    return taken + len(collect(generator, submitted - taken))


def bytes_in_use() -> int:
    """What this process alone has, without what malloc keeps for the next tensors."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(psutil.Process().memory_full_info().uss)


def measured(folder: Path) -> dict[str, float]:
    """Growth of the process a sync, in parts of the weights, and the responses given meanwhile."""
    # Weights so large that a copy of them stands out from the cache's pages, which count only once they were used.
    model_dir = save_tiny_model(folder / "model", tied=True, seed=0, hidden_size=256, heads=8)
    manifest = manifest_of_model_dir(model_dir, version=0)
    generator = start_generator(model_dir, weight_version=0, kv_cache_mib=32)
    try:
        syncs_under_load(generator, manifest, WARM_UP)
        used, responses = [bytes_in_use()], 0
        for _ in range(SYNCS // 40):
            responses += syncs_under_load(generator, manifest, 40)
            used.append(bytes_in_use())
    finally:
        generator.close()
    slope = float(np.polyfit(40 * np.arange(len(used)), used, 1)[0])
    return {"share_a_sync": slope / manifest.byte_count, "responses": responses}


def test_many_syncs_under_load_leak_no_memory(tmp_path: Path) -> None:
    # In a process of its own, as engines have it: what other tests left behind is freed or not as it likes.
    growth = json.loads(last_word_of(__file__, tmp_path))
    assert growth["responses"] > SYNCS
    assert growth["share_a_sync"] < MAX_SHARE_A_SYNC


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]))))
