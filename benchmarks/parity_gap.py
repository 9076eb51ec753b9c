"""Measures the difference between engine and learner as the parity canary does, in healthy and in broken runs.

    .venv/bin/python benchmarks/alone.py generation WORKLOAD_FOLDER ROLLOUTS --steps 64 --threads 2
    .venv/bin/python benchmarks/parity_gap.py WORKLOAD_FOLDER ROLLOUTS --steps 64 [--temperature 0.9]
        [--learner-of OTHER_WORKLOAD_FOLDER] [--dtype bfloat16]

`--temperature` applies only to the learner, as if the engine had ignored it. With `--learner-of`, the learner has the
weights of another folder's model, as if the engine had missed a sync: for example those of a copy of the folder whose
model `rlpost_grpo.py --save` has trained. Every rollout is checked once, 8 of different groups at a time, as in a run.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from alone import build_learner, recorded_groups
from rlpost_grpo import grpo_recipe
from workloads import GROUP_SIZE, GROUPS_PER_STEP

from rlpost.recipe.schema import Recipe
from rlpost.recipe.stages import GrpoStage
from rlpost.rollout.canary import ParityGap, check_parity

NO_BOUND = 1e9


def gaps(options: argparse.Namespace) -> list[ParityGap]:
    """Return one gap for every 8 rollouts."""
    groups = recorded_groups(options)
    theirs = argparse.Namespace(**vars(options) | {"workload": options.learner_of or options.workload})
    (stage,) = Recipe.model_validate(grpo_recipe(theirs, options.rollouts.parent)).stages
    assert isinstance(stage, GrpoStage)
    learner = build_learner(theirs, stage)
    return [
        check_parity(
            [replace(group, episodes=group.episodes[sample:]) for group in groups[first : first + GROUPS_PER_STEP]],
            learner,
            temperature=options.temperature,
            tolerance=NO_BOUND,
            dtype=options.dtype,
            samples=GROUPS_PER_STEP,
        )
        for first in range(0, len(groups), GROUPS_PER_STEP)
        for sample in range(GROUP_SIZE)
    ]


def described(found: list[ParityGap]) -> dict[str, Any]:
    """Return the minimum, median and maximum of each figure."""
    figures = {name: [getattr(gap, name) for gap in found] for name in ("relative", "maximum", "mean")}
    quantiles = {name: np.quantile(values, [0, 0.5, 1]).tolist() for name, values in figures.items()}
    return {"checks": len(found), "tokens": sum(gap.token_count for gap in found), **quantiles}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", type=Path)
    parser.add_argument("rollouts", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--learner-of", type=Path)
    parser.add_argument("--dtype", default="bfloat16", help="of the learner; the engine's is that of the rollouts")
    parser.set_defaults(staleness=0, kv_cache="recompute", micro_batch_tokens=8192, seed=0, threads=2)
    print(json.dumps(described(gaps(parser.parse_args()))), flush=True)
