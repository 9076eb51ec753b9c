"""Measures the cost of the quickstart: wall time by stage, peak memory of all processes, engine start, sync,
orchestration.

Peak memory is the sum of PSS (memory shared by n processes counts 1/n for each), sampled twice a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
GIB = 2**30
ENGINE_START = """
import os, time
started = time.perf_counter()
from rlpost.rollout.vllm_settings import engine_environment
os.environ.update(engine_environment("cpu", 2))
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.settings import EngineSettings
settings = EngineSettings(
    model_dir={model!r}, device="cpu", tensor_parallel=1, max_length=160, max_concurrent=256,
    kv_cache_mib=256, memory_fraction=0.85, trust_remote_code=False, dtype="float32", weight_version=0, lora_rank=None,
    lora_versions=1,
)
VllmGenerator(settings, name="benchmark")
print(time.perf_counter() - started)
os._exit(0)
"""


def measure(recipe: Path, output: Path, *, overrides: list[str]) -> dict[str, Any]:
    """Run the recipe once and read its results."""
    command = [sys.executable, "-m", "rlpost", "run", str(recipe), "--fresh", "--set", f"output={output}"]
    command += [part for override in overrides for part in ("--set", override)]
    started, peak_bytes = time.perf_counter(), 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak_bytes = max(peak_bytes, memory_of(process.pid))
            time.sleep(0.5)
        wall_s = time.perf_counter() - started
        if process.returncode:
            raise SystemExit(f"the run ended with {process.returncode}: {' '.join(command)}")
    summary = json.loads((output / "summary.json").read_text())
    metrics = output / "stages" / "04-grpo" / "metrics.jsonl"
    steps = [json.loads(line) for line in metrics.read_text().splitlines()][1:]
    return {
        "wall_s": round(wall_s, 1),
        "peak_memory_gib": round(peak_bytes / GIB, 2),
        "stage_seconds": {stage["name"]: stage["seconds"] for stage in summary["stages"]},
        "scores": {stage["name"]: stage["scores"].get("pass@1") for stage in summary["stages"]},
        "grpo_step_s_median": median(steps, "time/step_s"),
        "sync_s_median": median(steps, "time/sync_s"),
        "sync_s_max": max(step["time/sync_s"] for step in steps),
        "orchestration_share_median": median(steps, "time/other_share"),
        "engine_start_s": engine_start(output / "stages" / "00-base" / "model"),
    }


def memory_of(pid: int) -> int:
    """Return the PSS of a process and all its descendants, in bytes."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def median(steps: list[dict[str, float]], name: str) -> float:
    """Return the median of one metric over steps."""
    return round(statistics.median(step[name] for step in steps), 4)


def engine_start(model: Path) -> float:
    """Return the seconds from a bare process to an engine that serves, including vLLM's import."""
    code = ENGINE_START.format(model=str(model))
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return round(float(ended.stdout.split()[-1]), 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "quickstart.yaml")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    os.environ.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options.recipe, Path(folder) / "run", overrides=options.overrides), indent=2))
