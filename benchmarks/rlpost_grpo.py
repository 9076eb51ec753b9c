"""Runs GRPO by rlpost on a workload, and prints seconds, rewards and lengths of every step as JSON.

    .venv/bin/python benchmarks/rlpost_grpo.py WORKLOAD_FOLDER --steps 20 --staleness 0

The times come from the run's metrics.jsonl and do not include start-up.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from workloads import (
    ADAMW,
    GROUP_SIZE,
    GROUPS_PER_STEP,
    ROOT,
    SAMPLES_PER_STEP,
    VERIFIER,
    VERIFIER_PARAMS,
    WORKLOADS,
    read_jsonl,
    run_rlpost,
    write_json,
)

TAKE_TURNS, SIDE_BY_SIDE = ROOT / "ray_configs" / "laptop.yaml", ROOT / "ray_configs" / "laptop_overlap.yaml"
"""Cluster files: roles that alternate on both cores, or roles that each have one core all the time."""


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run the stage and read its metrics."""
    with tempfile.TemporaryDirectory() as folder:
        recipe, run = Path(folder) / "recipe.yaml", Path(folder) / "run"
        write_json(recipe, grpo_recipe(options, run))
        cluster = options.cluster or (SIDE_BY_SIDE if options.staleness else TAKE_TURNS)
        run_rlpost(recipe, cluster=cluster, overrides=options.overrides)
        stage = next(path for path in (run / "stages").iterdir() if path.name.endswith("-grpo"))
        if options.save is not None:
            shutil.copytree(stage / "model", options.save, dirs_exist_ok=True)
        return summary(read_jsonl(stage / "metrics.jsonl"), warmup=options.warmup)


def grpo_recipe(options: argparse.Namespace, run: Path) -> dict[str, Any]:
    """Make a recipe with one optimizer step on 64 samples: clipped surrogate, one mean over tokens, no KL."""
    workload, place = WORKLOADS[options.workload.name], options.workload
    stage: dict[str, Any] = {
        "name": "grpo",
        "kind": "grpo",
        "data": ["prompts"],
        "steps": options.steps,
        "prompts_per_step": GROUPS_PER_STEP,
        "samples_per_prompt": GROUP_SIZE,
        "sampling": {"temperature": 1.0, "max_tokens": workload.max_tokens},
        "loss": {"clip_low": 0.2, "clip_high": 0.2, "normalisation": "token"},
        "optimizer": {"learning_rate": workload.learning_rate, "schedule": "constant", **ADAMW},
        "learner": {
            "micro_batch_tokens": options.micro_batch_tokens,
            "checkpoint_every": 10_000,
        },
    }
    if options.staleness:
        stage |= {"max_staleness": options.staleness, "kv_cache_on_update": options.kv_cache}
    return {
        "name": "benchmark",
        "output": str(run),
        "seed": options.seed,
        "model": {"path": str(place / "model"), "max_length": workload.max_length, "dtype": options.dtype},
        "data": {"prompts": {"source": f"jsonl:{place / 'prompts.jsonl'}"}},
        "rewards": {"routes": {"*": {"verifier": VERIFIER, "params": VERIFIER_PARAMS}}},
        "stages": [stage],
    }


def summary(steps: list[dict[str, float]], *, warmup: int) -> dict[str, Any]:
    """Return the wall time of the steps after the warm-up; a step is timed from the end of the previous one."""
    counted = steps[warmup:]
    wall_s = sum(step["time/step_s"] for step in counted)
    parts = sorted({name for step in counted for name in step if name.startswith("time/") and name.endswith("_s")})
    return {
        "samples_per_s": round(len(counted) * SAMPLES_PER_STEP / wall_s, 3),
        "step_s": [round(step["time/step_s"], 4) for step in counted],
        "steps": len(counted),
        "rewards": [round(step["reward"], 4) for step in steps],
        "response_tokens": round(float(np.mean([step["response_tokens"] for step in counted])), 1),
        "median_s": {name: round(float(np.median([step.get(name, 0.0) for step in counted])), 4) for name in parts},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, default=3, help="first steps, not counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--staleness", type=int, default=0, help="0 is synchronous")
    parser.add_argument("--save", type=Path, help="where to leave the trained model")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="of matrix products and of what engines get; the learner's own weights are float32",
    )
    parser.add_argument("--kv-cache", choices=["recompute", "keep"], default="recompute", help="of responses under way")
    parser.add_argument("--micro-batch-tokens", type=int, default=8192)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="a key of the recipe")
    parser.add_argument("--cluster", type=Path, help="by default the one that fits the staleness")
    print(json.dumps(measured(parser.parse_args())), flush=True)
