"""One vLLM engine in this process on a workload's model, configured as in a run on a laptop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workloads import Workload

from rlpost.records import Sampling
from rlpost.rollout.vllm_settings import engine_environment

if TYPE_CHECKING:
    from rlpost.data.chat import ChatFormat
    from rlpost.rollout.vllm_generator import VllmGenerator


def start_engine(
    model: Path, workload: Workload, *, threads: int, dtype: Literal["float32", "bfloat16"]
) -> VllmGenerator:
    """Set the process environment, then start the engine; call this before anything imports torch or vllm."""
    os.environ.update(engine_environment("cpu", threads))
    from rlpost.rollout.vllm_generator import VllmGenerator
    from rlpost.settings import EngineSettings

    return VllmGenerator(
        EngineSettings(
            model_dir=str(model),
            device="cpu",
            tensor_parallel=1,
            max_length=workload.max_length,
            max_concurrent=256,
            kv_cache_mib=256,
            memory_fraction=0.85,
            trust_remote_code=False,
            dtype=dtype,
            weight_version=0,
            lora_rank=None,
            lora_versions=1,
        ),
        name="benchmark",
    )


def chat_of(model: Path) -> ChatFormat:
    """Return the model's tokenizer and template."""
    from transformers import AutoTokenizer

    from rlpost.data.chat import ChatFormat

    return ChatFormat(AutoTokenizer.from_pretrained(model))


def sampling_of(workload: Workload, chat: ChatFormat) -> Sampling:
    """Sample from the whole distribution, up to the workload's limit."""
    return Sampling(
        temperature=1.0, top_p=1.0, top_k=0, max_tokens=workload.max_tokens, stop_token_ids=chat.stop_token_ids
    )
