"""Compares SFT and DPO of rlpost with TRL's trainers on one machine: trained tokens per second over a whole epoch.

    .venv/bin/python benchmarks/supervised_against_trl.py FOLDER [--only sft-4m dpo-4m sft-50m dpo-50m] [--rounds 2]

FOLDER keeps the workloads (`supervised_workloads.py`) and TRL's fastest setting, which is searched first: rows a
micro-batch with and without sampling by length, then number format, attention, optimizer, threads, loader and, for DPO,
a reference that is computed before training; a switch is kept if it is faster. In a round each side runs once, in a
process of its own, on the same two cores. The clock runs over all steps of the epoch and the reference
log-probabilities of DPO; start-up and tokenising are not timed. Afterwards both models' losses on held-out rows are
compared.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from against_trl import held_against, pin_to_two_cores
from supervised_workloads import ADAMW, BETA, LEARNING_RATE, MAX_LENGTH, ROWS_PER_STEP, prepared, read_rows
from workloads import FASTER_FORMAT, ROOT, read_jsonl, run_rlpost, write_json

BARS = {"sft": 1.3, "dpo": 2.0}
WITHIN_NOISE = 0.02
"""Largest difference of the held-out losses, in nats a token."""
START = {"--precision": "bf16-autocast", "--threads": "2"}
"""Half precision is faster in every trial on a processor that has instructions for it."""
SAMPLING = ("group_by_length", "random")
MICRO_BATCHES = (2, 4, 8, 16, 32, 64)
SWITCHES: dict[str, dict[str, str]] = {
    "bfloat16 weights": {"--precision": "bf16-weights"},
    "float32": {"--precision": "float32"},
    "eager attention": {"--attention": "eager"},
    "one thread": {"--threads": "1"},
    "optimizer not fused": {"--optimizer": "adamw_torch"},
    "one loader process": {"--data-workers": "1"},
    "reference computed before": {"--precompute-reference": ""},
}
WORSE = 1.15
"""Micro-batches are not varied further once a trial takes this many times as long as the fastest."""
OUR_MICRO_BATCH_TOKENS = (1024, 2048, 4096, 8192)
_REFERENCE = re.compile(r"under the start, in ([\d.]+) s")
TRIAL_TIMEOUT_S = 900.0


class Comparison(NamedTuple):
    """A kind of training and a size of model."""

    kind: str
    size: str

    @property
    def name(self) -> str:
        """Its name, for example `sft-4m`."""
        return f"{self.kind}-{self.size}"


COMPARISONS = {
    comparison.name: comparison for comparison in (Comparison(kind, size) for size in ("4m", "50m") for kind in BARS)
}


def compared(comparison: Comparison, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure all rounds; return them with the bars."""
    place = prepared(comparison.size, folder)
    settings = fastest_settings(comparison, place)
    tokens = trained_tokens(comparison.kind, place)
    runs: dict[str, list[dict[str, Any]]] = {"trl": [], "ours": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as theirs, tempfile.TemporaryDirectory() as ours:
            runs["trl"].append(run_trl(comparison, place, settings["trl"], save=Path(theirs)))
            runs["trl"][-1]["held_out_loss"] = held_out_loss(Path(theirs), place)
            runs["ours"].append(run_ours(comparison, place, Path(ours), micro_batch_tokens=settings["ours"]))
    ratios = [theirs["seconds"] / ours["seconds"] for theirs, ours in zip(runs["trl"], runs["ours"], strict=True)]
    bars = {
        f"{comparison.name}: tokens/s over TRL's": held_against(statistics.median(ratios), bar=BARS[comparison.kind])
    }
    if comparison.kind == "sft":
        behind = statistics.median(
            ours["held_out_loss"] - theirs["held_out_loss"]
            for theirs, ours in zip(runs["trl"], runs["ours"], strict=True)
        )
        bars[f"{comparison.name}: TRL's held-out loss less ours"] = held_against(-behind, bar=-WITHIN_NOISE)
    return {
        "comparison": comparison.name,
        "tokens": tokens,
        "settings": settings,
        "tokens_per_s": {
            side: round(tokens / statistics.median(run["seconds"] for run in runs[side])) for side in runs
        },
        "ratios": [round(ratio, 3) for ratio in ratios],
        "bars": bars,
        "runs": runs,
    }


def trained_tokens(kind: str, place: Path) -> int:
    """Return the number of tokens of one epoch, prompts included."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place / "model")

    def length(messages: list[dict[str, str]]) -> int:
        return len(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False))

    answers = ("completion",) if kind == "sft" else ("chosen", "rejected")
    return sum(length(row["prompt"] + row[answer]) for row in read_rows(place, kind) for answer in answers)


def fastest_settings(comparison: Comparison, place: Path) -> dict[str, Any]:
    """Return TRL's fastest flags and our fastest number of tokens a micro-batch, from an earlier search if there is
    one.
    """
    found = place / f"fastest-{comparison.kind}.json"
    if not found.exists():
        with tempfile.TemporaryDirectory() as folder:
            ours = {
                tokens: run_ours(comparison, place, Path(folder) / str(tokens), micro_batch_tokens=tokens)["seconds"]
                for tokens in OUR_MICRO_BATCH_TOKENS
            }
        write_json(
            found, {**search(comparison, place), "ours": min(ours, key=lambda tokens: ours[tokens]), "own": ours}
        )
    return json.loads(found.read_text())


def search(comparison: Comparison, place: Path) -> dict[str, Any]:
    """Vary the rows of a micro-batch, then try each switch on the fastest, and keep those that help."""
    trials: dict[str, float | None] = {}
    best, fastest = dict(START), float("inf")
    for sampling in SAMPLING:
        least = float("inf")
        for rows in MICRO_BATCHES:
            settings = START | {"--micro-batch": str(rows), "--sampling": sampling}
            seconds = trials[f"{sampling}, micro-batches of {rows}"] = seconds_of(comparison, place, settings)
            if seconds is not None and seconds < fastest:
                best, fastest = settings, seconds
            least = min(least, seconds or float("inf"))
            if (seconds or float("inf")) > WORSE * least:
                break
    for name, switch in SWITCHES.items():
        if name.startswith("reference") and comparison.kind == "sft":
            continue
        seconds = trials[name] = seconds_of(comparison, place, best | switch)
        if seconds is not None and seconds < fastest:
            best, fastest = best | switch, seconds
    return {"trl": flags_of(best), "trials": trials}


def seconds_of(comparison: Comparison, place: Path, settings: Mapping[str, str]) -> float | None:
    """Return the seconds of an epoch; None if it does not run, or not within the limit."""
    try:
        return run_trl(comparison, place, flags_of(settings), save=None)["seconds"]
    except (subprocess.TimeoutExpired, RuntimeError):
        return None


def flags_of(settings: Mapping[str, str]) -> list[str]:
    """Return the command line of settings; a flag without a value stands alone."""
    return [part for flag, value in settings.items() for part in ((flag, value) if value else (flag,))]


def run_trl(comparison: Comparison, place: Path, flags: list[str], *, save: Path | None) -> dict[str, Any]:
    """Run an epoch in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "trl_supervised.py"), str(place), "--kind", comparison.kind]
    command += [*flags, *(["--save", str(save)] if save is not None else [])]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TRIAL_TIMEOUT_S)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def run_ours(comparison: Comparison, place: Path, folder: Path, *, micro_batch_tokens: int) -> dict[str, Any]:
    """Run an epoch by `rlpost run`; its times come from metrics.jsonl and, for the reference, from the stage's log."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "recipe.yaml"
    write_json(recipe, our_recipe(comparison, place, folder / "run", micro_batch_tokens=micro_batch_tokens))
    run_rlpost(recipe, cluster=ROOT / "ray_configs" / "laptop.yaml")
    stage = next(path for path in (folder / "run" / "stages").iterdir() if path.name.endswith(f"-{comparison.kind}"))
    steps = read_jsonl(stage / "metrics.jsonl")
    of_reference = _REFERENCE.search(recipe.with_suffix(".log").read_text())
    assert (of_reference is not None) == (comparison.kind == "dpo"), "DPO says how long its reference took"
    reference_s = 0.0 if of_reference is None else float(of_reference[1])
    return {
        "seconds": round(sum(step["time/step_s"] for step in steps) + reference_s, 3),
        "reference_s": reference_s,
        "steps": len(steps),
        "losses": [round(step["loss"], 4) for step in steps],
        "held_out_loss": held_out_loss(stage / "model", place),
    }


def our_recipe(comparison: Comparison, place: Path, run: Path, *, micro_batch_tokens: int) -> dict[str, Any]:
    """Make the recipe of one epoch with TRL's settings."""
    kind = comparison.kind
    stage: dict[str, Any] = {
        "name": kind,
        "kind": kind,
        "data": ["rows"],
        "rows_per_step": ROWS_PER_STEP,
        "epochs": 1,
        "optimizer": {"learning_rate": LEARNING_RATE[kind], "schedule": "constant", **ADAMW},
        "learner": {
            "compute_dtype": FASTER_FORMAT,
            "micro_batch_tokens": micro_batch_tokens,
            "checkpoint_every": 10_000,
        },
    }
    if kind == "dpo":
        stage |= {"loss": "sigmoid", "beta": BETA}
    return {
        "name": "benchmark",
        "output": str(run),
        "model": {"path": str(place / "model"), "max_length": MAX_LENGTH, "dtype": "float32"},
        "data": {"rows": {"source": f"jsonl:{place / f'{kind}.jsonl'}"}},
        "stages": [stage],
    }


def held_out_loss(model_dir: Path, place: Path) -> float:
    """Return the mean loss of the answers' tokens in the held-out rows, in float32, row by row."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(place / "model")
    losses: list[float] = []
    with torch.no_grad():
        for row in read_rows(place, "held_out"):
            prompt, whole = (
                tokenizer.apply_chat_template(messages, add_generation_prompt=more, tokenize=True, return_dict=False)
                for messages, more in ((row["prompt"], True), (row["prompt"] + row["completion"], False))
            )
            logits = model(torch.tensor([whole])).logits[0, len(prompt) - 1 : -1]
            target = torch.tensor(whole[len(prompt) :])
            losses += torch.nn.functional.cross_entropy(logits, target, reduction="none").tolist()
    return round(float(np.mean(losses)), 4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=sorted(COMPARISONS), default=list(COMPARISONS))
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    pin_to_two_cores()
    chosen, place = [COMPARISONS[name] for name in options.only], options.folder.resolve()
    print(json.dumps([compared(comparison, place, rounds=options.rounds) for comparison in chosen], indent=2))
