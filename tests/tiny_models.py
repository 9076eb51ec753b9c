"""Tiny random models and a byte tokenizer, built on the spot, that transformers and vLLM both load.

A test writes `from tiny_models import byte_tokenizer, save_tiny_model, tiny_llama, tiny_qwen3`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

PAD_TOKEN = "<|pad|>"
EOS_TOKEN = "<|eos|>"
PAD_ID = 0
EOS_ID = 1
BYTE_VOCAB_SIZE = 258
"""The two special tokens and the 256 bytes."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "assistant: {% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}"
    "{{ message['role'] }}: {{ message['content'] }}\n"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""What it renders for a prompt alone is always a prefix of what it renders with the answer."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer without merges: one token a byte, ids 2..257, any text there and back again."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {PAD_TOKEN: PAD_ID, EOS_TOKEN: EOS_ID}
    vocab.update({character: index for index, character in enumerate(alphabet, start=2)})
    assert len(vocab) == BYTE_VOCAB_SIZE
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD_TOKEN, eos_token=EOS_TOKEN)
    fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_qwen3(
    seed: int,
    *,
    tied: bool,
    vocab_size: int = BYTE_VOCAB_SIZE,
    hidden_size: int = 64,
    layers: int = 2,
    heads: int = 2,
    head_dim: int = 32,
    initializer_range: float = 0.2,
) -> Qwen3ForCausalLM:
    """A float32 Qwen3 in eval mode, the same for the same seed; vLLM on CPU needs `head_dim` of 32 or more.

    The usual `initializer_range` of 0.02 gives nearly uniform distributions; 0.2 gives sharp ones, in which a wrong
    weight or position shows.
    """
    shape = _shape(vocab_size, hidden_size, layers, heads, head_dim, initializer_range)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(Qwen3Config(**shape, tie_word_embeddings=tied)).eval()


def tiny_llama(
    seed: int,
    *,
    tied: bool,
    vocab_size: int = BYTE_VOCAB_SIZE,
    hidden_size: int = 64,
    layers: int = 2,
    heads: int = 2,
    head_dim: int = 32,
    initializer_range: float = 0.2,
) -> LlamaForCausalLM:
    """A float32 Llama in eval mode; arguments as of `tiny_qwen3`."""
    shape = _shape(vocab_size, hidden_size, layers, heads, head_dim, initializer_range)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=tied)).eval()


def save_tiny_model(
    directory: Path,
    *,
    tied: bool,
    seed: int,
    family: str = "qwen3",
    vocab_size: int = BYTE_VOCAB_SIZE,
    hidden_size: int = 64,
    layers: int = 2,
    heads: int = 2,
    head_dim: int = 32,
    initializer_range: float = 0.2,
) -> Path:
    """Write a tiny model (`family` is qwen3 or llama) and the byte tokenizer as one Hugging Face directory."""
    build = {"qwen3": tiny_qwen3, "llama": tiny_llama}[family]
    model = build(
        seed,
        tied=tied,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        layers=layers,
        heads=heads,
        head_dim=head_dim,
        initializer_range=initializer_range,
    )
    model.save_pretrained(directory)
    byte_tokenizer().save_pretrained(directory)
    return directory


def _shape(
    vocab_size: int, hidden_size: int, layers: int, heads: int, head_dim: int, initializer_range: float
) -> dict[str, Any]:
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "head_dim": head_dim,
        "max_position_embeddings": 1024,
        "initializer_range": initializer_range,
        "pad_token_id": PAD_ID,
        "eos_token_id": EOS_ID,
        "bos_token_id": None,
        "dtype": "float32",
    }
