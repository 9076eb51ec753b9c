"""What learners and engines are built from: plain values, picklable, all explicit; defaults live in `recipe` only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlpost.recipe.sections import LearnerConfig, LoraConfig, OptimizerConfig

DTypeName = Literal["float32", "bfloat16"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CriticSettings:
    """The value model beside a policy: always trained whole, with the policy's schedule and AdamW constants."""

    model_dir: str
    """A Hugging Face directory of a causal language model, or of a sequence classifier with one label."""
    learning_rate: float
    """In place of the policy's; follows the same schedule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerSettings:
    """Made by the assembly for each stage; taken by every learner rank."""

    model_dir: str
    """A Hugging Face model directory: the stage's start, and its reference model."""
    model_dtype: DTypeName
    """Of exported and published weights, and of computation unless `learner.compute_dtype` says otherwise."""
    trust_remote_code: bool
    device: Device
    threads: int
    total_steps: int
    """Of the schedule."""
    optimizer: OptimizerConfig
    learner: LearnerConfig
    lora: LoraConfig | None
    head: Literal["language_model", "score"]
    """What is trained: a causal language model, or a sequence classifier with one label (a reward model)."""
    critic: CriticSettings | None
    keep_reference: bool
    """Keep a frozen copy of the start for `logprobs(of="reference")`."""
    seed: int
    deterministic: bool
    teachers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name -> model directory of frozen models for `logprobs(of=name)`; they share the policy's tokenizer."""

    @property
    def compute_dtype(self) -> DTypeName:
        """Of matrix products."""
        return self.learner.compute_dtype or self.model_dtype


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """What one vLLM engine is built from. Made by the assembly; taken by every engine's process."""

    model_dir: str
    """A Hugging Face model directory with its tokenizer."""
    device: Device
    """Where it runs; the process environment must be that of `vllm_settings.engine_environment`."""
    tensor_parallel: int
    """Devices of this engine."""
    max_length: int
    """Longest sequence, prompt and response together, in tokens."""
    max_concurrent: int
    """Responses decoded at a time; more requests wait inside the engine."""
    kv_cache_mib: int
    """Size of the KV cache on CPU."""
    memory_fraction: float
    """Share of a CUDA device for weights and KV cache."""
    dtype: DTypeName
    """Number format of the weights."""
    trust_remote_code: bool
    """Whether Python files of `model_dir` may run."""
    weight_version: int
    """What the weights in `model_dir` are called in version spans."""
    lora_rank: int | None
    """Rank of adapters that are pulled in place of whole models; None takes no adapters."""
    lora_versions: int
    """Versions of the adapter that may be in use at a time; responses to later ones wait."""
