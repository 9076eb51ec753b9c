"""Settings from which learners and engines are built: plain, picklable, explicit values; `recipe` has the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlpost.recipe.optimizer import OptimizerConfig
from rlpost.recipe.sections import LearnerConfig, LoraConfig

DTypeName = Literal["float32", "bfloat16"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CriticSettings:
    """The value model beside a policy: always trained whole, with the policy's schedule and AdamW constants."""

    model_dir: str
    """A Hugging Face directory of a causal language model, or of a sequence classifier with one label."""
    learning_rate: float
    """Learning rate of the critic instead of the policy's; it follows the same schedule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerSettings:
    """The settings of a learner. The assembly makes them for each stage; every learner rank takes them."""

    model_dir: str
    """A Hugging Face model directory: the stage's start, and its reference model."""
    model_dtype: DTypeName
    """Dtype of exported and published weights, and of computation unless `learner.compute_dtype` is set."""
    trust_remote_code: bool
    device: Device
    threads: int
    total_steps: int
    """Number of optimizer steps of the schedule."""
    optimizer: OptimizerConfig
    learner: LearnerConfig
    lora: LoraConfig | None
    head: Literal["language_model", "score"]
    """The model to train: a causal language model, or a sequence classifier with one label (a reward model)."""
    critic: CriticSettings | None
    dropout: bool
    """Whether the dropout of the model's own config acts in training; it never acts elsewhere."""
    keep_reference: bool
    """Whether to keep a frozen copy of the start for `logprobs(of="reference")`."""
    seed: int
    deterministic: bool
    teachers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name -> model directory of frozen models for `logprobs(of=name)`; they share the policy's tokenizer."""

    @property
    def compute_dtype(self) -> DTypeName:
        """Dtype of matrix products."""
        return self.learner.compute_dtype or self.model_dtype


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """The settings of one vLLM engine. The assembly makes them; every engine's process takes them."""

    model_dir: str
    """A Hugging Face model directory with its tokenizer."""
    device: Device
    """The engine's device; the process environment must be that of `vllm_settings.engine_environment`."""
    tensor_parallel: int
    """Number of devices of this engine."""
    max_length: int
    """Longest sequence, prompt and response together, in tokens."""
    max_concurrent: int
    """Most responses that are decoded at once; further requests wait inside the engine."""
    kv_cache_mib: int
    """Size of the KV cache on CPU."""
    memory_fraction: float
    """Share of a CUDA device for weights and KV cache."""
    dtype: DTypeName
    """Dtype of the weights."""
    trust_remote_code: bool
    """Whether Python files in `model_dir` may run."""
    weight_version: int
    """Version that the weights in `model_dir` have in version spans."""
    lora_rank: int | None
    """Rank of adapters that are pulled instead of whole models; with None, the engine takes no adapters."""
    lora_versions: int
    """Most versions of the adapter in use at the same time; responses to later versions wait."""
