"""Values that a document or a row may come to hold, from the usual to the absurd."""

from __future__ import annotations

import math
from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 64, 1000, 10**9, 10**18, 10**30, -(10**18), 2**31, 2**63, -(2**63) - 1),
    *(0.0, -0.0, 0.5, 1e-3, 1e-300, 1e300, -1e308, 0.1 + 0.2, math.nan, math.inf, -math.inf),
)
TEXTS = (
    *("", " ", "\n", "\t", "~", ".", "..", "/", "null", "yes", "on", "true", "1e3", "0x10", "-", "*", "a: b", "- a"),
    *("ü", "日本語", "\u202etxet", "🙂", "e\u0301", "\ufeff", "\u2028", "\x00", "\x1b[31m", "\ud800", "\udfff x"),
    *(
        "a" * 300,
        "b/" * 3000,
        "c" * 100_000,
        "word " * 500,
        "%s %d {x} {question}",
        "{{ 7 * 7 }}",
        "<|eos|>",
        "<|user|>",
    ),
    *("${env:FUZZ_TEXT}", "${env:FUZZ_NUMBER}", "${env:FUZZ_UNSET}", "${env:FUZZ_UNSET:-3}", "${env:", "$${env:A}"),
    *("../../etc/passwd", "/dev/null", "/dev/zero", "/proc/self/mem", "~/x", "C:\\x", "http://localhost:1/x", "a b"),
    *("jsonl:.", "jsonl:/dev/zero", "parquet:.", "hf:.", "hf:" + "h" * 300, "hf:a/b", "jsonl:plain.jsonl", "jsonl:"),
    *("reasoning_gym:leg_counting", "reasoning_gym:chain_sum", "reasoning_gym:", "reasoning_gym:x", "hf:given"),
    *("rlpost:plain", "rlpost:tulu", "rlpost:x", "given", "plain.jsonl", "given/config.json", "x" * 200 + ".py:y"),
)
WORDS = (
    *("cpt", "sft", "dpo", "reward_model", "grpo", "ppo", "base", "policy", "reward", "worked", "held_out", "sums"),
    *("arithmetic", "math", "gsm8k", "preferences", "dapo", "dr_grpo", "gspo", "cispo", "tulu3_ppo", "prime_rl"),
    *(
        "constant",
        "linear",
        "cosine",
        "float32",
        "bfloat16",
        "token",
        "sequence",
        "recompute",
        "behaviour",
        "log_linear",
    ),
    *("k1", "k2", "k3", "loss", "keep", "icepop", "truncate", "none", "sequence_mask", "geometric_mask", "adapter"),
    *("text.exact", "math.equivalent", "number.close", "text.f1", "shape.length", "format.tags", "json.schema", "*"),
    *(
        "qwen3",
        "llama",
        "gpt2",
        "mistral",
        "mamba",
        "bert",
        "dataset",
        "pass@1",
        "mean_score",
        ">= 0",
        "< 2",
        "all-linear",
    ),
)
NESTED = 60


def any_value(rng: Random, *, depth: int = 0) -> Any:
    """A number, a text, a word, nothing, or a container of them."""
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(NUMBERS)
    if draw < 0.6:
        return rng.choice(TEXTS)
    if draw < 0.75:
        return rng.choice(WORDS)
    if draw < 0.85:
        return rng.choice((None, True, False))
    if depth > 2:
        return rng.choice(([], {}))
    if draw < 0.87:
        return nested(rng.choice((3, NESTED)))
    if draw < 0.93:
        return [any_value(rng, depth=depth + 1) for _ in range(rng.choice((0, 1, 2, 40)))]
    return {str(rng.choice((*WORDS, *TEXTS))): any_value(rng, depth=depth + 1) for _ in range(rng.randint(0, 3))}


def nested(depth: int) -> Any:
    """Lists and mappings within each other."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def near(value: Any, rng: Random) -> Any:
    """What somebody might have meant instead: another number, another word, the opposite."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, value * 2, value // 2, 1, 2, 4))
    if isinstance(value, float):
        return rng.choice((value * 2, value / 2, 1 - value, 0.5, round(value), 1.0))
    return rng.choice(WORDS)
