"""Measures the length and accuracy of a model's answers, sampled at temperature 1 by one vLLM engine.

    .venv/bin/python benchmarks/held_out.py MODEL WORKLOAD_FOLDER

Prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from one_engine import chat_of, sampling_of, start_engine
from workloads import VERIFIER_PARAMS, WORKLOADS, read_jsonl

from rewards.text import exact
from rlpost.records import Completion, Example, GenerationRequest, Message, Sample

SAMPLES = 4
"""Number of answers to every held-out prompt."""


def sample_answers(model: Path, place: Path) -> tuple[list[Completion], list[str]]:
    """Return answers to the held-out prompts, and the gold of each."""
    workload = WORKLOADS[place.name]
    generator, chat = start_engine(model, workload, threads=2, dtype="float32"), chat_of(model)
    rows = read_jsonl(place / "held_out.jsonl")
    asked = [(Message(role="user", content=row["prompt"]),) for row in rows]
    prompts = chat.render_prompts([Example(id=place.name, dataset=place.name, messages=turns) for turns in asked])
    sampling = sampling_of(workload, chat)
    generator.submit(
        [
            GenerationRequest(
                key=(str(row), sample), prompt_token_ids=prompts[row], sampling=sampling, seed=row * SAMPLES + sample
            )
            for row in range(len(rows))
            for sample in range(SAMPLES)
        ]
    )
    answers: list[Completion] = []
    while len(answers) < SAMPLES * len(rows):
        answers += generator.poll(10.0)
    return answers, [rows[int(answer.key[0])]["gold"] for answer in answers]


def is_right(answer: str, gold: str) -> bool:
    """Judge an answer by the verifier that rewards both sides."""
    sample = Sample(id="", prompt="", response=answer, gold=gold)
    return exact.judge(sample, params=VERIFIER_PARAMS).score == 1.0


def described(answers: list[Completion], golds: list[str]) -> dict[str, Any]:
    """Return accuracy with its standard error over prompts, and the lengths."""
    right = np.array([is_right(answer.text, gold) for answer, gold in zip(answers, golds, strict=True)])
    lengths = np.array([len(answer.token_ids) for answer in answers])
    by_prompt: dict[str, list[bool]] = {}
    for answer, correct in zip(answers, right.tolist(), strict=True):
        by_prompt.setdefault(answer.key[0], []).append(correct)
    shares = np.array([np.mean(values) for values in by_prompt.values()])
    quantiles = {f"q{100 * q:g}": float(np.quantile(lengths, q)) for q in (0.1, 0.5, 0.9, 0.99)}
    return {
        "accuracy": round(float(right.mean()), 4),
        "standard_error": round(float(shares.std(ddof=1) / np.sqrt(len(shares))), 4),
        "answers": len(answers),
        "cut_off": float(np.mean([answer.finish == "length" for answer in answers])),
        "tokens": {"mean": round(float(lengths.mean()), 1), **quantiles, "max": int(lengths.max())},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("workload", type=Path, help="a folder that workloads.py made")
    options = parser.parse_args()
    print(json.dumps(described(*sample_answers(options.model, options.workload))), flush=True)
    os._exit(0)  # The engine's thread and vLLM's own exit handlers take seconds otherwise.
