"""What mutations start from: every shipped recipe on a small model and small files of one folder, and rows of data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_run import MODEL, OPTIMIZER, recipe_document, sums, write_rows
from tiny_models import save_tiny_model

ROOT = Path(__file__).parents[2]
# Models and data of a hub are not within reach: the same recipes on what lies beside them.
LOCAL = {
    "meta-llama/Llama-3.1-8B": "given",
    "hf:allenai/tulu-3-sft-mixture": "jsonl:chat.jsonl",
    "hf:allenai/llama-3.1-tulu-3-8b-preference-mixture": "jsonl:pairs.jsonl",
    "hf:allenai/RLVR-GSM\n    split: test": "jsonl:judged_held_out.jsonl",
    "hf:allenai/RLVR-GSM": "jsonl:judged.jsonl",
    "hf:allenai/RLVR-MATH": "jsonl:judged.jsonl",
    # The worked solutions are of sums of two numbers.
    "source: reasoning_gym:chain_sum\n    solution": "source: reasoning_gym:chain_sum\n"
    "    params: {min_terms: 2, max_terms: 2}\n    solution",
}
SHIPPED = (*sorted((ROOT / "recipes").glob("*.yaml")), ROOT / "tests" / "recipe" / "valid.yaml")
RECIPES = (*(path.name for path in SHIPPED), "small.yaml")
Rows = list[dict[str, Any]]


def make_ground(folder: Path) -> None:
    """Write all files into the folder."""
    folder.mkdir(parents=True)
    for path in SHIPPED:
        text = path.read_text(encoding="utf-8")
        for name, local in LOCAL.items():
            text = text.replace(name, local)
        # What fake parts score is nothing to stop a run for.
        text = re.sub(r'">= 0\.\d+"', '">= 0"', text)
        (folder / path.name).write_text(text, encoding="utf-8")
    small = json.dumps(recipe_document(folder), indent=1).replace(f"{folder}/", "")
    (folder / "small.yaml").write_text(small, encoding="utf-8")
    for name, rows in SHAPES.items():
        write_rows(folder / f"{name}.jsonl", rows())
    write_rows(folder / "judged_held_out.jsonl", _judged(first=50))
    _save_given_model(folder / "given")


def _save_given_model(directory: Path) -> None:
    """With a context as long as the shipped recipes ask for."""
    save_tiny_model(directory, tied=True, seed=0, hidden_size=32, layers=1, heads=1)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1 << 20}))


def _turns(*contents: str) -> Rows:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]


def _chat() -> Rows:
    return [
        {"id": f"c{number}", "messages": _turns(f"say {number}", f"{number}"), "source": "made"} for number in range(10)
    ]


def _pairs() -> Rows:
    return [
        {"chosen": _turns(f"{n} + 1 =", f"{n + 1}"), "rejected": _turns(f"{n} + 1 =", f"{n}"), "weight": n / 2}
        for n in range(10)
    ]


def _plain_pairs() -> Rows:
    return [{"prompt": f"{n} + 1 =", "response": f"{n + 1}", "rejected": f"{n}"} for n in range(10)]


def _judged(first: int = 0) -> Rows:
    numbers = range(first, first + 10)
    return [{"messages": _turns(f"{n} + 2 ="), "ground_truth": f"{n + 2}", "dataset": "made"} for n in numbers]


def _texts() -> Rows:
    return [{"text": f"document {n}: " + "word " * n, "url": f"u{n}", "tokens": n} for n in range(10)]


SHAPES: dict[str, Callable[[], Rows]] = {
    "plain": lambda: sums(10),
    "chat": _chat,
    "pairs": _pairs,
    "plain_pairs": _plain_pairs,
    "judged": _judged,
    "texts": _texts,
}
"""Name of a file -> rows as data sets have them."""


def document_for(shape: str, source: str) -> dict[str, Any]:
    """A recipe of one stage that uses rows of this shape; its tokenizer is built from them too."""
    data: dict[str, Any] = {"source": source}
    if shape == "judged":
        data["columns"] = {"gold": "ground_truth"}
    stage: dict[str, Any] = {"data": ["rows"], "optimizer": OPTIMIZER, "steps": 2}
    match shape:
        case "plain" | "chat":
            stage |= {"name": "sft", "kind": "sft", "rows_per_step": 3}
        case "pairs" | "plain_pairs":
            stage |= {"name": "dpo", "kind": "dpo", "rows_per_step": 2, "beta": 1.0}
        case "texts":
            stage |= {"name": "cpt", "kind": "cpt", "rows_per_step": 3}
        case _:
            stage |= {"name": "grpo", "kind": "grpo", "prompts_per_step": 2, "samples_per_prompt": 3}
            stage["sampling"] = {"max_tokens": 6}
    model = {"config": dict(MODEL), "tokenizer": {"data": ["rows"], "vocab_size": 270}, "max_length": 96}
    document: dict[str, Any] = {
        "name": "fuzzed",
        "output": "run",
        "model": model | {"chat_template": "rlpost:plain", "dtype": "float32"},
        "data": {"rows": data},
        "stages": [stage],
    }
    if shape in ("plain", "judged"):
        document["rewards"] = {"routes": {"*": {"verifier": "text.exact"}}}
        document["evaluate"] = {"data": ["held_out"], "samples": 2, "sampling": {"max_tokens": 6}}
        document["data"]["held_out"] = {"source": "jsonl:held_out.jsonl"}
        if shape == "plain":
            # The same rows judged: what a verifier compares with and what is held out come from them too.
            document["stages"][0]["least_score"] = 0
    return document
