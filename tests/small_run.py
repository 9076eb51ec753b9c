"""A recipe of four stages on rows of a file, and a pipeline over fake parts that runs it in a second."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakes import FakeParts

from rlpost.pipeline.prepare import prepare
from rlpost.pipeline.run import Pipeline
from rlpost.pipeline.run_directory import RunDirectory
from rlpost.recipe.schema import ClusterConfig, PreparationRole, Recipe
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.console import Console

MODEL = {
    "model_type": "qwen3",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 32,
}
OPTIMIZER = {"learning_rate": 1e-3}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sums(count: int, *, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{number} + 1 =", "response": f"{number + 1}", "gold": f"{number + 1}"}
        for number in range(first, first + count)
    ]


def recipe_document(folder: Path) -> dict[str, Any]:
    """A recipe as plain data, its files in `folder`; change it, then validate it."""
    return {
        "name": "small",
        "output": str(folder / "run"),
        "model": {
            "config": dict(MODEL),
            "tokenizer": {"data": ["sums"], "vocab_size": 270},
            "chat_template": "rlpost:plain",
            "max_length": 48,
            "dtype": "float32",
        },
        "data": {
            "sums": {"source": f"jsonl:{write_rows(folder / 'sums.jsonl', sums(12))}"},
            "held_out": {"source": f"jsonl:{write_rows(folder / 'held_out.jsonl', sums(3, first=50))}"},
        },
        "rewards": {"routes": {"*": {"verifier": "text.exact"}}},
        "stages": [
            {"name": "sft", "kind": "sft", "data": ["sums"], "rows_per_step": 4, "steps": 3, "optimizer": OPTIMIZER},
            {
                "name": "dpo",
                "kind": "dpo",
                "data": ["sums"],
                "rows_per_step": 2,
                "steps": 2,
                "beta": 1.0,
                "own_samples": {"samples_per_prompt": 6, "sampling": {"max_tokens": 6}},
                "optimizer": OPTIMIZER,
            },
            {
                "name": "grpo",
                "kind": "grpo",
                "data": ["sums"],
                "steps": 4,
                "prompts_per_step": 4,
                "samples_per_prompt": 3,
                "sampling": {"max_tokens": 6},
                "optimizer": OPTIMIZER,
                "learner": {"checkpoint_every": 1},
            },
        ],
        "evaluate": {"data": ["held_out"], "samples": 2, "sampling": {"max_tokens": 6}},
    }


def recipe_of(document: dict[str, Any]) -> Recipe:
    return Recipe.model_validate_json(json.dumps(document))


def pipeline_of(
    document: dict[str, Any],
    parts: FakeParts,
    *,
    can_generate: bool = True,
    fresh: bool = False,
    stop: StopRequest | None = None,
) -> Pipeline:
    """Everything that a run does before its first stage, on fake parts."""
    pipeline = pipeline_for(recipe_of(document), parts, Console(), fresh=fresh)
    return replace(pipeline, stop=stop or StopRequest(()), can_generate=can_generate)


def pipeline_for(recipe: Recipe, parts: FakeParts, console: Console, *, fresh: bool = False) -> Pipeline:
    run = RunDirectory(Path(recipe.output))
    run.claim(recipe.name, fresh=fresh)
    prepared = prepare(recipe, run, console, where=PreparationRole(cache_dir=str(run.root.parent / "cache")))
    return Pipeline(
        recipe=recipe,
        cluster=ClusterConfig(name="fake", step_timeout_s=20),
        run=run,
        parts=parts,
        console=console,
        data=prepared.data,
        identities=prepared.identities,
        base=prepared.base,
        stop=StopRequest(()),
        can_generate=True,
    )
