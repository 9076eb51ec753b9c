"""What every test shares."""

from __future__ import annotations

import os

# Before any test imports transformers: a test must never reach for the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from rlpost.rollout.vllm_settings import engine_environment

# Before any test imports torch or vLLM: both read these once.
for name, value in engine_environment("cpu", threads=1).items():
    os.environ.setdefault(name, value)
