"""Finds TRL's fastest setting on this machine for a workload: tries each switch alone, then the useful ones together.
If the combination fails, or is no faster, the switches are added one by one, the fastest first.

A trial of the large model takes minutes. If a search for the small model exists, only the switches that were fastest
there are tried, and those that gain more the larger a model is. No switch changes what is learnt, except for rounding.
Writes `trl_settings.json` into the workload's folder, with the speed of every trial; `against_trl.py` runs TRL with the
fastest setting.

    .venv/bin/python benchmarks/trl_settings.py WORKLOAD_FOLDER [--steps 12]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from workloads import ROOT, write_json

Trials = dict[str, dict[str, Any]]
"""Names of switches, joined by " + " -> the result of the trial."""
SETTINGS_FILE = "trl_settings.json"
START: dict[str, str] = {"--precision": "float32", "--threads": "2"}
SWITCHES: dict[str, dict[str, str]] = {
    "as it comes": {},
    "one thread": {"--threads": "1"},
    "bfloat16 autocast": {"--precision": "bf16-autocast"},
    "eager attention": {"--attention": "eager"},
    "static cache": {"--cache": "static"},
    "continuous batching": {"--continuous-batching": ""},
    "optimizer not fused": {"--optimizer": "adamw_torch"},
    "denormals flushed": {"--flush-denormal": ""},
    "micro-batches of 16": {"--micro-batch": "16"},
    "one loader process": {"--data-workers": "1"},
    "torch.compile": {"--compile": ""},
}
WEIGHS_MORE_WITH_SIZE = ("bfloat16 autocast", "micro-batches of 16")
WORTH_IT = 1.03
"""A switch joins the combination if it makes a run at least this many times as fast."""
TRIAL_TIMEOUT_S = 900.0
CANNOT_WIN = 1.5
"""A trial that takes this many times as long as the first one is stopped: it will not be the fastest."""


def fastest_settings(place: Path, *, steps: int) -> list[str]:
    """Return flags of `trl_grpo.py`, from the file of an earlier search if there is one."""
    found = place / SETTINGS_FILE
    if not found.exists():
        write_json(found, search(place, steps=steps))
    return json.loads(found.read_text())["flags"]


def search(place: Path, *, steps: int) -> dict[str, Any]:
    """Try each switch alone, then the useful ones in combination, and return all trials."""
    trials: Trials = {}
    timeout_s = TRIAL_TIMEOUT_S
    for name, switch in switches_for(place).items():
        started = time.monotonic()
        trials[name] = trial(place, START | switch, steps=steps, timeout_s=timeout_s)
        if not switch:
            timeout_s = CANNOT_WIN * (time.monotonic() - started)
    plain = trials["as it comes"]["samples_per_s"]
    useful = [name for name in trials if speed(trials[name]) > WORTH_IT * plain]
    add_combinations(trials, useful, lambda settings: trial(place, settings, steps=steps, timeout_s=TRIAL_TIMEOUT_S))
    best = fastest(trials)
    return {"fastest": best, "flags": trials[best]["flags"], "trials": trials}


def add_combinations(trials: Trials, useful: list[str], attempt: Callable[[dict[str, str]], dict[str, Any]]) -> None:
    """Try all useful switches together; if that is no faster than the fastest alone, add them one after another."""

    def combine(names: list[str]) -> bool:
        before = speed(trials[fastest(trials)])
        settings = dict(chain(START.items(), *(SWITCHES[name].items() for name in names)))
        trials[" + ".join(names)] = attempt(settings)
        return speed(trials[" + ".join(names)]) > before

    if len(useful) < 2 or combine(useful):
        return
    joined, *others = sorted(useful, key=lambda name: speed(trials[name]), reverse=True)
    kept = [joined]
    for name in others if len(useful) > 2 else []:
        if combine([*kept, name]):
            kept.append(name)


def speed(tried: dict[str, Any]) -> float:
    """Return samples per second; 0 for a trial that did not run."""
    return tried.get("samples_per_s", 0.0)


def fastest(trials: Trials) -> str:
    """Return the name of the fastest trial."""
    return max(trials, key=lambda name: speed(trials[name]))


def switches_for(place: Path) -> dict[str, dict[str, str]]:
    """Return the switches to try alone, the plain setting first."""
    small = place.with_name(place.name.replace("50m", "3m")) / SETTINGS_FILE
    if "50m" not in place.name or not small.exists():
        return SWITCHES
    known = [name for name in json.loads(small.read_text())["fastest"].split(" + ") if name in SWITCHES]
    return {name: SWITCHES[name] for name in dict.fromkeys(["as it comes", *known, *WEIGHS_MORE_WITH_SIZE])}


def trial(place: Path, settings: dict[str, str], *, steps: int, timeout_s: float) -> dict[str, Any]:
    """Return samples per second with these settings, or the reason why they do not run."""
    flags = [part for flag, value in settings.items() for part in ((flag, value) if value else (flag,))]
    command = [sys.executable, str(ROOT / "benchmarks" / "trl_grpo.py"), str(place), "--steps", str(steps), *flags]
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return {"flags": flags, "failed": f"not done after {timeout_s:.0f} s"}
    if ended.returncode:
        return {"flags": flags, "failed": ended.stderr.strip().splitlines()[-1]}
    measured = json.loads(ended.stdout.splitlines()[-1])
    return {"flags": flags, "samples_per_s": measured["samples_per_s"], "response_tokens": measured["response_tokens"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    outcome = search(options.workload.resolve(), steps=options.steps)
    write_json(options.workload / SETTINGS_FILE, outcome)
    print(json.dumps(outcome, indent=2))
