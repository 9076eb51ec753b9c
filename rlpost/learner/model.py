"""The policy: a Hugging Face causal language model, with an adapter if asked for, sharded by FSDP2."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rlpost.errors import ModelError
from rlpost.learner.adapter import merged_weights, with_adapter
from rlpost.learner.attention import register_segment_attention
from rlpost.learner.settings import LearnerSettings
from rlpost.learner.sharding import gathered, shard_model

_GENERATION_CONFIG = "generation_config.json"


def build_policy(settings: LearnerSettings, mesh: DeviceMesh) -> nn.Module:
    """The model to train: float32 master weights, sharded, computing in `compute_dtype`."""
    model = _load(settings)
    if settings.learner.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    wrapped: nn.Module = model if settings.lora is None else with_adapter(model, settings.lora)
    shard_model(wrapped, mesh, compute_dtype=settings.compute_dtype)
    wrapped.train()
    return wrapped


def build_reference(settings: LearnerSettings, mesh: DeviceMesh) -> nn.Module:
    """A frozen copy of the start."""
    model = _load(settings)
    model.requires_grad_(False)
    shard_model(model, mesh, compute_dtype=settings.compute_dtype)
    model.eval()
    return model


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters that the optimizer updates."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def full_state(model: nn.Module, settings: LearnerSettings) -> dict[str, Tensor]:
    """Weights and buffers under the names of the Hugging Face model, whole, on CPU, in its dtype, adapters merged.

    A collective: every rank calls it, rank 0 gets the weights and the others an empty mapping. A tied output head
    stands under its own name too, because vLLM keeps a separate copy of it on CPU that would go stale.
    """
    dtype: torch.dtype = getattr(torch, settings.model_dtype)
    shards: dict[str, Tensor] = model.state_dict()
    if settings.lora is not None:
        weights = merged_weights(shards, settings.lora)
    else:
        weights = ((name, gathered(shard)) for name, shard in shards.items())
    state: dict[str, Tensor] = {}
    for name, weight in weights:
        if dist.get_rank() == 0:
            rounded = weight.to(dtype) if weight.is_floating_point() else weight
            state[name] = rounded.cpu().contiguous()
    return state


def export_pretrained(state: dict[str, Tensor], settings: LearnerSettings, directory: Path) -> None:
    """Write a model directory that `AutoModelForCausalLM` and vLLM load."""
    config = AutoConfig.from_pretrained(settings.model_dir, trust_remote_code=settings.trust_remote_code)
    config.dtype = getattr(torch, settings.model_dtype)
    with torch.device("meta"):
        # The sharded module's class is named FSDP...; a fresh skeleton writes the architecture's own name.
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=settings.trust_remote_code)
    if config.tie_word_embeddings:
        state = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    skeleton.save_pretrained(directory, state_dict=state)
    if (Path(settings.model_dir) / _GENERATION_CONFIG).exists():
        # The skeleton knows nothing of the start's own stop tokens and sampling defaults.
        shutil.copyfile(Path(settings.model_dir) / _GENERATION_CONFIG, directory / _GENERATION_CONFIG)


def _load(settings: LearnerSettings) -> PreTrainedModel:
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            settings.model_dir,
            dtype=torch.float32,
            attn_implementation=register_segment_attention(),
            trust_remote_code=settings.trust_remote_code,
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model must be a Hugging Face directory with config.json and weights; loading "
            f"{settings.model_dir} failed: {error}"
        ) from error
    # Recurrent layers carry their state over the end of a row, which no attention can prevent.
    if getattr(model, "_is_stateful", False):
        raise ModelError(
            f"rows are packed end to end, so every layer must attend; {type(model).__name__} has recurrent layers: "
            "set model.path to a model with attention only"
        )
    return model
