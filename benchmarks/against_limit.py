"""Compares a step with the time that its parts take alone, which shows the cost of the loop itself.

    .venv/bin/python benchmarks/against_limit.py FOLDER [--only even-3m long-3m] [--rounds 3]

Asynchronous: step time over the longer of generation alone and training alone, each pinned to the one core that it has
in the run. Synchronous: step time over their sum, each with both cores. The parts do the same work as the run
(`alone.py`): same prompts, order, seeds and verifier, and batches made from those answers. The run's learning rate is
close to 0, so that its weights, and with them its answers, stay the same. Runs and parts alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import two_cores
from against_trl import STALENESS, our_settings
from workloads import ROOT, WORKLOADS, Workload, prepared

Mode = Literal["sync", "async"]
BARS: dict[Mode, float] = {"async": 1.15, "sync": 1.10}
LIMITS: dict[Mode, str] = {"async": "max(generation, training)", "sync": "generation + training"}
FROZEN_LEARNING_RATE = 1e-9
STEPS = {"even-3m": 40, "long-3m": 30, "even-50m": 12, "long-50m": 10}
WARMUP = 4


class Part(NamedTuple):
    """The resources of a part in the run."""

    threads: int
    cores: set[int]


PARTS: dict[Mode, dict[str, Part]] = {
    "sync": {"generation": Part(2, {0, 1}), "training": Part(2, {0, 1})},
    "async": {"generation": Part(1, {0}), "training": Part(1, {1})},
}


def against_limit(workload: Workload, mode: Mode, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure all rounds of one workload in one mode; return them with the bar."""
    place = prepared(workload, folder)
    measured = [one_round(mode, place, steps=STEPS[workload.name]) for _ in range(rounds)]
    ratio = statistics.median(turn["ratio"] for turn in measured)
    return {
        "workload": workload.name,
        "mode": mode,
        "bars": {
            f"{workload.name}, {mode}: step over {LIMITS[mode]}": {
                "bar": BARS[mode],
                "measured": round(ratio, 3),
                "met": ratio <= BARS[mode],
            }
        },
        "rounds": measured,
    }


def one_round(mode: Mode, place: Path, *, steps: int) -> dict[str, Any]:
    """Measure generation alone, training alone, and the run."""
    with tempfile.TemporaryDirectory() as scratch:
        rollouts = Path(scratch) / "rollouts.jsonl"
        generation = alone("generation", mode, place, rollouts, steps=steps)
        training = alone("training", mode, place, rollouts, steps=steps)
    run = whole_run(mode, place, steps=steps)
    parts_s = [generation["mean_step_s"], training["mean_step_s"]]
    run_s = statistics.mean(run["step_s"])
    return {
        "two_cores": two_cores.measured(),
        "ratio": round(run_s / (sum(parts_s) if mode == "sync" else max(parts_s)), 3),
        "generation_s": parts_s[0],
        "training_s": parts_s[1],
        "run_s": round(run_s, 4),
        "run_median_s": run["median_s"],
        "response_tokens": {"alone": generation["response_tokens"], "run": run["response_tokens"]},
        "trained_tokens_per_step": training["trained_tokens_per_step"],
    }


def alone(what: Literal["generation", "training"], mode: Mode, place: Path, rollouts: Path, *, steps: int) -> Any:
    """Run one part in its own process, on the cores that it has in the run."""
    part = PARTS[mode][what]
    staleness = STALENESS if mode == "async" else 0
    command = [sys.executable, str(ROOT / "benchmarks" / "alone.py"), what, str(place), str(rollouts)]
    command += ["--steps", str(steps), "--warmup", str(WARMUP), "--threads", str(part.threads)]
    command += ["--ahead", str(staleness), "--staleness", str(staleness), *our_settings(mode)]
    return answer_of(command, cores=part.cores)


def whole_run(mode: Mode, place: Path, *, steps: int) -> Any:
    """Run the whole stage on both cores."""
    command = [sys.executable, str(ROOT / "benchmarks" / "rlpost_grpo.py"), str(place)]
    command += ["--steps", str(steps), "--warmup", str(WARMUP), *our_settings(mode)]
    command += ["--staleness", str(STALENESS if mode == "async" else 0)]
    command += ["--set", f"stages.grpo.optimizer.learning_rate={FROZEN_LEARNING_RATE}"]
    return answer_of(command, cores={0, 1})


def answer_of(command: list[str], *, cores: set[int]) -> Any:
    """Return the JSON that a command prints on its last line."""
    ended = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=sorted(WORKLOADS), default=["even-3m", "long-3m"])
    parser.add_argument("--modes", nargs="+", choices=["sync", "async"], default=["sync", "async"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chosen = [(WORKLOADS[name], mode) for name in options.only for mode in options.modes]
    outcome = [
        against_limit(workload, mode, options.folder.resolve(), rounds=options.rounds) for workload, mode in chosen
    ]
    print(json.dumps(outcome, indent=2))
