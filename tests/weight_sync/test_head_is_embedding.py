"""A family whose output head is the embedding itself, which has no module of its own in vLLM, gets new weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_probe import a_request, ask, start_generator, transformers_logprobs
from tiny_models import BYTE_VOCAB_SIZE, EOS_ID, PAD_ID, byte_tokenizer
from transformers import Gemma2Config, Gemma2ForCausalLM

from rlpost.weight_file import write_weight_file

pytestmark = pytest.mark.engine
TOLERANCE = 1e-4


def gemma_2(seed: int) -> Gemma2ForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Gemma2Config(
            vocab_size=BYTE_VOCAB_SIZE,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            query_pre_attn_scalar=32,
            sliding_window=16,
            attn_logit_softcapping=5.0,
            max_position_embeddings=1024,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=EOS_ID,
            pad_token_id=PAD_ID,
            dtype="float32",
        )
        model = Gemma2ForCausalLM(config).eval()
    model.set_attn_implementation("eager")  # transformers' other implementations leave out the soft cap.
    return model


def test_soft_cap_window_and_shared_head_agree_with_transformers_before_and_after_an_update(tmp_path: Path) -> None:
    models = [gemma_2(seed) for seed in (0, 1)]
    models[0].save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    manifest = write_weight_file(models[1].state_dict(), tmp_path / "weights.safetensors", version=1)
    generator = start_generator(tmp_path / "model", weight_version=0)
    requests = [a_request(str(seed), seed=seed, prompt_length=30) for seed in range(4)]
    for version, model in enumerate(models):
        if version == 1:
            generator.pull_weights(manifest, keep_kv_cache=False)
        rollouts = ask(generator, requests)
        for request in requests:
            rollout = rollouts[request.key[0]]
            expected = transformers_logprobs(model, request, rollout, temperature=1.0)
            assert np.abs(rollout.logprobs_T - expected).max() <= TOLERANCE
    generator.close()
