"""The workloads of `supervised_against_trl.py`: rows of long-tailed lengths, and a model with random weights.

A workload is a folder: `model/` (config, weights, tokenizer with a chat template), `sft.jsonl`, `dpo.jsonl` and
`held_out.jsonl`. Words are drawn from a vocabulary with a long tail, and an answer repeats words of its question, so
that there is something to learn. Lengths are lognormal: most answers have fewer than 100 tokens, and some nearly 1,000.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

ADAMW: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0}
LEARNING_RATE = {"sft": 3e-4, "dpo": 1e-5}
BETA = 0.1
MAX_LENGTH = 1024
ROWS_PER_STEP = 64
HELD_OUT = 128
STEPS = {"4m": 24, "50m": 4}
"""Optimizer steps of one epoch."""
SHAPES: dict[str, dict[str, int]] = {
    "4m": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4},
    "50m": {"hidden_size": 768, "intermediate_size": 2304, "num_hidden_layers": 7, "num_attention_heads": 12},
}
VOCABULARY = 4096
WORDS = 3000


def prepared(size: str, folder: Path) -> Path:
    """Return the workload's folder under `folder`; make it if it does not exist."""
    place = folder / f"supervised-{size}"
    if not (place / "held_out.jsonl").exists():
        place.mkdir(parents=True, exist_ok=True)
        dice = random.Random(5)
        words = [_word(dice) for _ in range(WORDS)]
        count = STEPS[size] * ROWS_PER_STEP
        for kind in ("sft", "dpo"):
            _write(place / f"{kind}.jsonl", [_row(kind, words, dice) for _ in range(count)])
        _save_model(size, words, place / "model")
        _write(place / "held_out.jsonl", [_row("sft", words, dice) for _ in range(HELD_OUT)])
    return place


def read_rows(place: Path, kind: str) -> list[dict[str, Any]]:
    """Return the rows of one kind."""
    return [json.loads(line) for line in (place / f"{kind}.jsonl").read_text().splitlines()]


def _word(dice: random.Random) -> str:
    return "".join(dice.choice("bdfgklmnprstvz") + dice.choice("aeiou") for _ in range(dice.randint(1, 4)))


def _text(words: list[str], dice: random.Random, *, count: int) -> str:
    # A long tail: the square of an even number falls near 0 most often.
    return " ".join(words[int(dice.random() ** 2 * len(words))] for _ in range(count))


def _row(kind: str, words: list[str], dice: random.Random) -> dict[str, Any]:
    question = _text(words, dice, count=8 + dice.randrange(40))
    asked = question.split()

    def answer() -> list[dict[str, str]]:
        count = min(700, max(4, round(dice.lognormvariate(math.log(70), 1.0))))
        echoed = [dice.choice(asked) if dice.random() < 0.5 else _text(words, dice, count=1) for _ in range(count)]
        return [{"role": "assistant", "content": " ".join(echoed)}]

    prompt = [{"role": "user", "content": question}]
    if kind == "sft":
        return {"prompt": prompt, "completion": answer()}
    return {"prompt": prompt, "chosen": answer(), "rejected": answer()}


def _save_model(size: str, words: list[str], directory: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([" ".join(words)] * 4 + [f" {word}" for word in words], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=special[0], eos_token=special[1])
    fast.chat_template = (
        "{% for message in messages %}<|{{ message['role'] }}|>{% if message['role'] == 'assistant' %}"
        "{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}{% else %}{{ message['content'] }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen3",
        vocab_size=VOCABULARY,
        num_key_value_heads=4,
        head_dim=64,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        **SHAPES[size],
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
