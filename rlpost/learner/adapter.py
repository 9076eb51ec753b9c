"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft: adds, merges and saves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from rlpost.errors import ModelError
from rlpost.learner.sharding import gathered
from rlpost.recipe.sections import LoraConfig
from rlpost.weight_file import ADAPTER_FILE, follow_umask

_NAME = "default"
_PREFIX = "base_model.model."


def with_adapter(model: PreTrainedModel, lora: LoraConfig) -> nn.Module:
    """Freeze the model and add a new adapter to it.

    Raises:
        ModelError: `target_modules` names modules that do not exist or cannot be merged.
    """
    import peft  # Only runs with `lora` need it.

    modules = lora.target_modules
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=cast(int, lora.alpha),
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
        base_model_name_or_path=model.name_or_path,
    )
    try:
        wrapped = peft.get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(f"lora.target_modules must name linear layers of the model; {error}") from error
    _check_mergeable(wrapped, by_default=modules == "all-linear")
    return wrapped


def _check_mergeable(model: Any, *, by_default: bool) -> None:
    from peft.tuners.lora import Linear, LoraLayer

    head = model.get_output_embeddings() if model.config.tie_word_embeddings else None
    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        if not isinstance(module, Linear) or module.fan_in_fan_out or module is head:
            found = name.removeprefix(_PREFIX)
            if by_default:
                raise ModelError(
                    f"all linear layers of this model cannot be adapted, because {found} cannot be merged: name the "
                    "layers in lora.target_modules"
                )
            raise ModelError(
                f"lora.target_modules must name linear layers other than a tied output head; found {found}: leave it "
                "out"
            )


def merged_weights(shards: Mapping[str, Tensor], lora: LoraConfig) -> Iterator[tuple[str, Tensor]]:
    """Yield names and weights of the base model with each low-rank product added (equation 3); a collective.

    It works on one weight at a time, so that no rank ever holds two whole weights on its device.
    """
    scale = lora.alpha / lora.rank
    for name, shard in shards.items():
        if ".lora_" in name:
            continue
        weight = gathered(shard)
        stem, found, leaf = name.partition(".base_layer.")
        if found and leaf == "weight":
            down, up = (gathered(shards[f"{stem}.lora_{side}.{_NAME}.weight"]) for side in "AB")
            weight = weight + scale * (up @ down)
        yield name.removeprefix(_PREFIX).replace(".base_layer.", "."), weight


def save_adapter(model: Any, directory: Path, *, is_writer: bool) -> None:
    """Write a directory that `PeftModel.from_pretrained` loads onto the base model; a collective, rank 0 writes."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    # By default peft would ask a hub whether the embedding was resized; adapters here never change it.
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: gathered(tensor).cpu().contiguous() for name, tensor in state.items()}
    if is_writer:
        directory.mkdir()
        model.peft_config[_NAME].save_pretrained(directory)
        save_file(tensors, directory / ADAPTER_FILE, metadata={"format": "pt"})
        follow_umask([directory / ADAPTER_FILE], beside=directory / "adapter_config.json")
