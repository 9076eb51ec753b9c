"""Compares rlpost with TRL's GRPOTrainer on one machine: trained samples per second, in alternating runs.

    .venv/bin/python benchmarks/against_trl.py FOLDER [--only even-3m long-3m] [--rounds 3] [--accuracy]

FOLDER keeps the workloads (`workloads.py`) and TRL's fastest settings (`trl_settings.py`) for the next time. In a round
each side runs once: TRL, ours synchronous, ours asynchronous. A ratio compares runs of one round, and the median over
rounds is compared with the bar. Start-up is not timed on either side, and all processes are pinned to the same cores.

`--accuracy` trains both sides on the same number of samples from 3 seeds and compares held-out accuracy.
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

import numpy as np
from trl_settings import fastest_settings
from workloads import FASTER_FORMAT, ROOT, SAMPLES_PER_STEP, WORKLOADS, Workload, prepared

Side = Literal["trl", "sync", "async"]
SIDES: tuple[Side, ...] = ("trl", "sync", "async")
STALENESS = 4
BARS = {("even", "sync"): 1.0, ("even", "async"): 1.3, ("long", "sync"): 1.5, ("long", "async"): 2.5}
CORES = {0, 1}
"""The two cores that all processes of a side share."""


class Steps(NamedTuple):
    """Numbers of steps of one run; fewer if a step takes long."""

    trl: int
    ours: int
    warmup: int


STEPS = {
    "even-3m": Steps(trl=30, ours=50, warmup=5),
    "long-3m": Steps(trl=10, ours=40, warmup=3),
    "even-50m": Steps(trl=10, ours=16, warmup=3),
    "long-50m": Steps(trl=4, ours=12, warmup=2),
}
ACCURACY_STEPS = 60
ACCURACY_SEEDS = (0, 1, 2)
WITHIN_NOISE = 2.0
"""Number of standard errors by which our accuracy may be below TRL's."""


def compared(workload: Workload, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure all rounds of one workload; return them with the bars."""
    place = prepared(workload, folder)
    runs: dict[Side, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            runs[side].append(run_side(side, place, STEPS[workload.name], extra=[]))
    ratios = {side: ratios_to_trl(runs[side], runs["trl"]) for side in SIDES}
    return {
        "workload": workload.name,
        "sampled": json.loads((place / "sampled.json").read_text()),
        "samples_per_s": {side: median_speed(runs[side]) for side in SIDES},
        "ratios": ratios,
        "bars": {
            f"{workload.name}, {side}: samples/s over TRL's": held_against(
                round(statistics.median(ratios[side]), 3), bar=BARS[workload.answers, side]
            )
            for side in ("sync", "async")
        },
        "runs": runs,
    }


def ratios_to_trl(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[float]:
    """Return one ratio per round."""
    return [round(run["samples_per_s"] / other["samples_per_s"], 3) for run, other in zip(ours, theirs, strict=True)]


def held_against(measured: float, *, bar: float) -> dict[str, Any]:
    """Describe a figure that should reach the bar."""
    return {"bar": bar, "measured": measured, "met": measured >= bar}


def median_speed(runs: list[dict[str, Any]]) -> float:
    """Return the median of samples per second."""
    return round(statistics.median(run["samples_per_s"] for run in runs), 1)


def run_side(side: Side, place: Path, steps: Steps, *, extra: list[str]) -> dict[str, Any]:
    """Make one run in its own process."""
    script = "trl_grpo.py" if side == "trl" else "rlpost_grpo.py"
    command = [sys.executable, str(ROOT / "benchmarks" / script), str(place), "--warmup", str(steps.warmup)]
    command += ["--steps", str(steps.trl if side == "trl" else steps.ours), *extra]
    if side == "trl":
        command += fastest_settings(place, steps=min(12, steps.trl))
    else:
        command += ["--staleness", str(STALENESS if side == "async" else 0), *our_settings(side)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def our_settings(side: Literal["sync", "async"]) -> list[str]:
    """Use products in the faster format, over float32 master weights, and keep keys and values across weight updates.

    TRL runs at the fastest setting that a search finds. Recomputing all keys and values at each update is an option of
    ours that is switched off: for answers of 33 tokens, it takes a fifth of an engine's time (LOG.md).
    """
    return ["--dtype", FASTER_FORMAT, *(["--kv-cache", "keep"] if side == "async" else [])]


def accuracies(workload: Workload, folder: Path) -> dict[str, Any]:
    """Compare held-out accuracies of all sides after the same number of samples, over several seeds."""
    place = prepared(workload, folder)
    found: dict[Side, list[float]] = {side: [] for side in SIDES}
    for seed in ACCURACY_SEEDS:
        for side in SIDES:
            with tempfile.TemporaryDirectory() as model:
                steps = Steps(trl=ACCURACY_STEPS, ours=ACCURACY_STEPS, warmup=3)
                run_side(side, place, steps, extra=["--seed", str(seed), "--save", model])
                found[side].append(held_out_accuracy(Path(model), place))
    return {
        "workload": workload.name,
        "samples": ACCURACY_STEPS * SAMPLES_PER_STEP,
        "before": json.loads((place / "sampled.json").read_text())["accuracy"],
        "runs": found,
        "bars": {
            f"{workload.name}, {side}: held-out accuracy less TRL's, in standard errors": held_against(
                standard_errors_ahead(found[side], found["trl"]), bar=-WITHIN_NOISE
            )
            for side in ("sync", "async")
        },
    }


def standard_errors_ahead(ours: list[float], theirs: list[float]) -> float:
    """Return the difference of the means in units of its own standard error."""
    error = np.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
    return round(float((np.mean(ours) - np.mean(theirs)) / max(error, 1e-4)), 2)


def held_out_accuracy(model: Path, place: Path) -> float:
    """Return the share of right answers, sampled at temperature 1."""
    command = [sys.executable, str(ROOT / "benchmarks" / "held_out.py"), str(model), str(place)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout.splitlines()[-1])["accuracy"]


def pin_to_two_cores() -> None:
    """Pin this process and all its children to two cores."""
    os.sched_setaffinity(0, CORES & os.sched_getaffinity(0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=sorted(WORKLOADS), default=sorted(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", action="store_true")
    options = parser.parse_args()
    pin_to_two_cores()
    chosen, place = [WORKLOADS[name] for name in options.only], options.folder.resolve()
    outcome = [
        accuracies(workload, place) if options.accuracy else compared(workload, place, rounds=options.rounds)
        for workload in chosen
    ]
    print(json.dumps(outcome, indent=2))
