"""A tiny vLLM engine to ask, and the same question put to transformers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rlpost.records import Completion, GenerationRequest, Sampling
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.settings import EngineSettings

MAX_LENGTH = 512


def start_generator(
    model_dir: Path,
    *,
    weight_version: int,
    name: str = "probe",
    kv_cache_mib: int = 64,
    lora_rank: int | None = None,
    lora_versions: int = 1,
) -> VllmGenerator:
    """One engine on CPU in float32, in this process."""
    return VllmGenerator(
        EngineSettings(
            model_dir=str(model_dir),
            device="cpu",
            tensor_parallel=1,
            max_length=MAX_LENGTH,
            max_concurrent=64,
            kv_cache_mib=kv_cache_mib,
            memory_fraction=0.5,
            trust_remote_code=False,
            dtype="float32",
            weight_version=weight_version,
            lora_rank=lora_rank,
            lora_versions=lora_versions,
        ),
        name=name,
    )


def a_request(
    key: str,
    *,
    seed: int,
    prompt_length: int = 12,
    temperature: float = 1.0,
    max_tokens: int = 24,
    stop: Sequence[int] = (),
) -> GenerationRequest:
    """A request whose prompt depends on its seed and length alone."""
    prompt = np.random.default_rng(seed).integers(2, 258, prompt_length).astype(np.int32)
    sampling = Sampling(temperature=temperature, top_p=1.0, top_k=0, max_tokens=max_tokens, stop_token_ids=tuple(stop))
    return GenerationRequest(key=(key, 0), prompt_token_ids=prompt, sampling=sampling, seed=seed)


def collect(generator: VllmGenerator, count: int, *, timeout_s: float = 60.0) -> dict[str, Completion]:
    """Wait for `count` rollouts; by prompt id."""
    rollouts: dict[str, Completion] = {}
    deadline = time.monotonic() + timeout_s
    while len(rollouts) < count:
        assert time.monotonic() < deadline, f"{len(rollouts)} of {count} rollouts came in {timeout_s} s"
        rollouts.update({rollout.key[0]: rollout for rollout in generator.poll(1.0)})
    return rollouts


def ask(generator: VllmGenerator, requests: Sequence[GenerationRequest]) -> dict[str, Completion]:
    """Submit and wait; by prompt id."""
    generator.submit(requests)
    return collect(generator, len(requests))


def transformers_logprobs(
    model: PreTrainedModel, request: GenerationRequest, rollout: Completion, *, temperature: float
) -> NDArray[np.float32]:
    """Of the rollout's tokens under `model`; shape [T]."""
    ids = torch.from_numpy(np.concatenate([request.prompt_token_ids, rollout.token_ids]).astype(np.int64))
    with torch.no_grad():
        logits = model(ids[None], use_cache=False).logits[0, len(request.prompt_token_ids) - 1 : -1]
    logprobs_TV = torch.log_softmax(logits.float() / temperature, dim=-1)
    return logprobs_TV.gather(1, ids[len(request.prompt_token_ids) :, None])[:, 0].numpy()


def last_word_of(script: str, folder: Path) -> str:
    """The last line that a test file prints as a program: a process of its own, as engines have it."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, script, str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.splitlines()[-1]
