"""What every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before any test imports transformers: a test must never reach for the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from rlpost.rollout.vllm_settings import engine_environment

# Before any test imports torch or vLLM: both read these once.
for name, value in engine_environment("cpu", threads=1).items():
    os.environ.setdefault(name, value)


# The first example of a property may import torch, on a machine that other tests keep busy: `timeout` is the limit.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run of the smoke recipe, for all tests that read it or copy it."""
    from whole_runs import SMOKE, run_recipe

    output = tmp_path_factory.mktemp("smoke") / "run"
    ended = run_recipe(SMOKE, output, timeout_s=300)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert "held-out scores" in ended.stdout
    return output
