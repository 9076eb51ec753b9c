"""Gathers whole weights from shards, and writes them as a Hugging Face directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rlpost.errors import ModelError
from rlpost.learner.adapter import merged_weights
from rlpost.learner.sharding import gathered
from rlpost.recipe.model_layout import weight_paths
from rlpost.settings import LearnerSettings
from rlpost.weight_file import follow_umask

_GENERATION_CONFIG = "generation_config.json"


def full_state(model: nn.Module, settings: LearnerSettings) -> dict[str, Tensor]:
    """Gather weights and buffers on CPU, with the names and dtype of the Hugging Face model, adapters merged.

    A collective: every rank calls it; rank 0 gets the weights and the others an empty mapping. A tied output head is
    included under its own name, because vLLM keeps a separate copy of it on CPU that would become stale.
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
    """Write a directory that transformers loads as a language model (as does vLLM) or as a sequence classifier."""
    config = AutoConfig.from_pretrained(settings.model_dir, trust_remote_code=settings.trust_remote_code)
    config.dtype = getattr(torch, settings.model_dtype)
    is_scorer = settings.head == "score"
    if is_scorer:
        config.num_labels = 1
        _set_padding(config, settings)
    kind = AutoModelForSequenceClassification if is_scorer else AutoModelForCausalLM
    with torch.device("meta"):
        # The sharded module's class is called FSDP...; a fresh skeleton writes the architecture's own name.
        skeleton = kind.from_config(config, trust_remote_code=settings.trust_remote_code)
    if config.tie_word_embeddings:
        state = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    skeleton.save_pretrained(directory, state_dict=state)
    follow_umask(weight_paths(directory), beside=directory / "config.json")
    if not is_scorer and (Path(settings.model_dir) / _GENERATION_CONFIG).exists():
        # The skeleton does not know the stop tokens and sampling defaults of the stage's start.
        shutil.copyfile(Path(settings.model_dir) / _GENERATION_CONFIG, directory / _GENERATION_CONFIG)


def _set_padding(config: Any, settings: LearnerSettings) -> None:
    """Set the padding id by which a classifier finds the last token of a row: from the config, the tokenizer, or
    eos.
    """
    text_config = config.get_text_config()
    if text_config.pad_token_id is None:
        text_config.pad_token_id = _tokenizer_padding(settings)
    if text_config.pad_token_id is None:
        end = text_config.eos_token_id
        text_config.pad_token_id = end[0] if isinstance(end, list) else end
    if text_config.pad_token_id is None:
        raise ModelError(
            f"a reward model must know the id of padding; {settings.model_dir} names neither a padding token nor an "
            "end of text: set pad_token_id in its config.json"
        )


def _tokenizer_padding(settings: LearnerSettings) -> int | None:
    if not (Path(settings.model_dir) / "tokenizer_config.json").exists():
        return None
    tokenizer = AutoTokenizer.from_pretrained(settings.model_dir, trust_remote_code=settings.trust_remote_code)
    return tokenizer.pad_token_id
