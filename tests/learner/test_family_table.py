"""Every line of the table of model families is what the learner does, on tiny random models of each family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_inputs import batch_of, random_rows, settings_of
from safetensors.torch import load_file
from tiny_models import BYTE_VOCAB_SIZE
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoConfig, AutoModelForCausalLM

from rlpost.errors import ModelError
from rlpost.interfaces import POLICY
from rlpost.learner.loading import load_language_model, load_scorer
from rlpost.learner.local import LocalLearner
from rlpost.recipe.model_families import FAMILIES, OTHER_NAMES
from rlpost.recipe.sections import LoraConfig
from rlpost.records import FloatArray

LOGPROB_TOLERANCE = 1e-4
WINDOW = 16
"""Shorter than half of the rows, so that a window in the wrong place shows."""

SHAPE: dict[str, Any] = {
    "vocab_size": BYTE_VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "sliding_window": WINDOW,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
OWN: dict[str, dict[str, Any]] = {
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 1},
    "gemma2": {"query_pre_attn_scalar": 32, "tie_word_embeddings": True},
    "gemma3_text": {"query_pre_attn_scalar": 32, "tie_word_embeddings": True},
    "gpt2": {"n_embd": 64, "n_head": 2, "n_layer": 2, "n_positions": 128, "tie_word_embeddings": True},
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "exaone4": {"sliding_window_pattern": 2},
    "qwen2_moe": {**EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {**EXPERTS, "num_experts": 4},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "glm4_moe": {**EXPERTS, "n_routed_experts": 4},
    "mixtral": {"num_local_experts": 4},
    "granitemoe": {"num_local_experts": 4},
    "gpt_oss": {"num_local_experts": 4},
    "bloom": {"n_head": 2, "n_layer": 2},
    "codegen": {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 128, "rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 2, "window_size": WINDOW},
    "gptj": {"n_embd": 64, "n_head": 2, "n_layer": 2, "n_positions": 128, "rotary_dim": 16},
    "mpt": {"d_model": 64, "n_heads": 2, "n_layers": 2, "max_seq_len": 128},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 2, "mamba_d_head": 32, "mamba_n_groups": 1, "mamba_d_state": 16},
    "jamba": {"num_experts": 2, "mamba_d_state": 8, "attn_layer_period": 2, "attn_layer_offset": 1},
    "qwen3_next": {**EXPERTS, "num_experts": 4},
}
"""The settings of a family that differ from, or are added to, `SHAPE`."""
NOT_BUILT = frozenset(
    {"falcon", "falcon_mamba", "kimi_linear", "lfm2_moe", "mamba2", "olmo_hybrid", "qwen3_5", "qwen3_5_moe"}
    | {"qwen3_5_text", "xlstm", "zamba", "zamba2"}
)
"""Refused families that would need a shape of their own here; their code in transformers was read."""
TRAINED = [family for family, support in FAMILIES.items() if support.training is None]
REFUSED = [family for family in FAMILIES if family not in TRAINED and family not in NOT_BUILT]


def model_of(family: str, directory: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        without = {"head_dim"} if family == "falcon" else set[str]()
        shape = {key: value for key, value in SHAPE.items() if key not in without}
        config = AutoConfig.for_model(family, **{**shape, **OWN.get(family, {})})
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(directory)
    return directory


def logprobs_of_transformers(model_dir: Path, rows: list[Any]) -> FloatArray:
    """Each row alone, through transformers' own attention; 0 where the weight is 0."""
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()
    parts: list[FloatArray] = []
    for row in rows:
        ids = torch.from_numpy(row.token_ids).long()
        with torch.no_grad():
            logprobs = model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
        chosen = logprobs[:-1].gather(1, ids[1:, None]).squeeze(1).numpy()
        parts.append(np.where(row.weights_T != 0, np.concatenate([[0], chosen]), 0).astype(np.float32))
    return np.concatenate(parts)


def works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ModelError:
        return False
    return True


@pytest.mark.parametrize("family", TRAINED)
def test_a_family_that_is_trained_gives_the_log_probabilities_of_transformers(
    family: str, mesh: DeviceMesh, tmp_path: Path
) -> None:
    model_dir, rows = model_of(family, tmp_path / "model"), random_rows(seed=1)
    expected = logprobs_of_transformers(model_dir, rows)
    learner = LocalLearner(settings_of(model_dir), mesh)
    assert np.abs(expected).max() > 1
    assert np.abs(learner.logprobs(batch_of(rows), of=POLICY) - expected).max() <= LOGPROB_TOLERANCE

    learner.write_weights(tmp_path / "published.safetensors", version=1)
    published = load_file(tmp_path / "published.safetensors")
    on_disk = load_file(model_dir / "model.safetensors")
    if json.loads((model_dir / "config.json").read_text()).get("tie_word_embeddings"):
        published.pop("lm_head.weight", None)
    is_refused_by_names = FAMILIES[family].reinforcement == OTHER_NAMES
    assert (published.keys() == on_disk.keys()) is not is_refused_by_names

    adapter = LoraConfig(rank=2, alpha=4.0)
    adapts = works(lambda: LocalLearner(settings_of(model_dir, lora=adapter), mesh))
    assert adapts is (FAMILIES[family].adapter is None)
    scores = works(lambda: load_scorer(str(model_dir), trust_remote_code=False))
    assert scores is (FAMILIES[family].scorer is None)


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_is_refused_would_mix_packed_rows(family: str, tmp_path: Path) -> None:
    model_dir = model_of(family, tmp_path / "model")
    with pytest.raises(ModelError, match=r"rows are packed end to end|must be a Hugging Face directory"):
        load_language_model(str(model_dir), trust_remote_code=False)
