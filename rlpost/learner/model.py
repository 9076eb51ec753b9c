"""The policy: a Hugging Face causal language model, with an adapter if asked for, sharded by FSDP2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rlpost.errors import ModelError
from rlpost.learner.attention import register_segment_attention
from rlpost.learner.settings import LearnerSettings


def build_policy(settings: LearnerSettings, mesh: DeviceMesh) -> nn.Module:
    """The model to train: float32 master weights, sharded, computing in `compute_dtype`."""
    model = _load(settings)
    if settings.learner.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    wrapped: nn.Module = model if settings.lora is None else _with_adapter(model, settings)
    _shard(wrapped, settings, mesh)
    wrapped.train()
    return wrapped


def build_reference(settings: LearnerSettings, mesh: DeviceMesh) -> nn.Module:
    """A frozen copy of the start."""
    model = _load(settings)
    model.requires_grad_(False)
    _shard(model, settings, mesh)
    model.eval()
    return model


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters that the optimizer updates."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def full_state(model: nn.Module, settings: LearnerSettings) -> dict[str, Tensor]:
    """All weights under the names of the Hugging Face model, gathered, on CPU, in the model's dtype.

    A collective: every rank calls it and gets the whole. Adapters are merged, and a tied output head stands
    under its own name too, because vLLM keeps a separate copy of it on CPU that would go stale.
    """
    dtype: torch.dtype = getattr(torch, settings.model_dtype)
    whole = {name: gathered(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    if settings.lora is not None:
        whole = _merge_adapter(whole, scale=settings.lora.alpha / settings.lora.rank)
    state = {name: tensor.to(device="cpu", dtype=dtype).contiguous() for name, tensor in whole.items()}
    if "lm_head.weight" not in state and "model.embed_tokens.weight" in state:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
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


def _load(settings: LearnerSettings) -> PreTrainedModel:
    try:
        return AutoModelForCausalLM.from_pretrained(
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


def _with_adapter(model: PreTrainedModel, settings: LearnerSettings) -> nn.Module:
    import peft  # Only runs with `lora` need it.

    assert settings.lora is not None
    modules = settings.lora.target_modules
    config = peft.LoraConfig(
        r=settings.lora.rank,
        lora_alpha=cast(int, settings.lora.alpha),
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks, which are sharded one by one: the longest list of equal modules."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) > 0]
    if not lists:
        raise ModelError("the model must have a list of decoder layers to shard; found none")
    return list(max(lists, key=lambda modules: sum(p.numel() for p in modules.parameters())))


def _shard(model: nn.Module, settings: LearnerSettings, mesh: DeviceMesh) -> None:
    compute: torch.dtype = getattr(torch, settings.compute_dtype)
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)
    options: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
    for layer in decoder_layers(model):
        fully_shard(layer, **options)
    fully_shard(model, **options)


def gathered(parameter: Tensor) -> Tensor:
    """The whole of a sharded tensor; a collective. Other tensors as they are."""
    full = getattr(parameter, "full_tensor", None)
    return (full() if full is not None else parameter).detach()


def _merge_adapter(whole: dict[str, Tensor], *, scale: float) -> dict[str, Tensor]:
    """Adapter names -> the base model's, each low-rank product added to its weight (LoRA, arXiv 2106.09685, eq. 3)."""
    merged: dict[str, Tensor] = {}
    for name, tensor in whole.items():
        if ".lora_" in name:
            continue
        plain = name.removeprefix("base_model.model.")
        if ".base_layer." in plain:
            stem = name.split(".base_layer.")[0]
            down, up = whole.get(f"{stem}.lora_A.default.weight"), whole.get(f"{stem}.lora_B.default.weight")
            if plain.endswith(".weight") and down is not None and up is not None:
                merged[plain.replace(".base_layer.", ".")] = tensor + scale * (up @ down)
                continue
        merged[plain.replace(".base_layer.", ".")] = tensor
    return merged
