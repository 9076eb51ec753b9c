"""Gathers whole weights from shards, and writes them as a Hugging Face directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

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
    """Set the padding id, before which a classifier reads its score: an id that ends no row, so never the end of text.

    Without such an id there is none: transformers then reads a single row at its end, and refuses several at once.
    """
    text_config = config.get_text_config()
    end = text_config.eos_token_id
    ends = set(cast("list[int]", end) if isinstance(end, list) else [end])
    candidates: list[int | None] = [text_config.pad_token_id]
    if (Path(settings.model_dir) / "tokenizer_config.json").exists():
        tokenizer: Any = AutoTokenizer.from_pretrained(settings.model_dir, trust_remote_code=settings.trust_remote_code)
        ends.add(tokenizer.eos_token_id)
        candidates += [tokenizer.pad_token_id, tokenizer.unk_token_id]
        if len(tokenizer) < text_config.vocab_size:
            candidates.append(text_config.vocab_size - 1)  # An embedding of no token.
    fitting = [token_id for token_id in candidates if token_id is not None and token_id not in ends]
    text_config.pad_token_id = fitting[0] if fitting else None
