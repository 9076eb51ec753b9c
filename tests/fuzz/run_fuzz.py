"""Mutations of recipes and data files, each to its end: `run_fuzz.py --recipes 2000 --data 500 --seed 0 --json PATH`.

A case is refused with an error in words, or runs on fake parts to whole artifacts. Everything else is a violation and
printed with its name, which makes it again: `run_fuzz.py --case recipe/0/17`. Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

# Before transformers and datasets are imported: nothing here looks for a network, or shows how far it is.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets
import reasoning_gym
import transformers
import trl.data_utils
from fuzz_cases import Case, case_called, starts
from fuzz_ground import make_ground
from fuzz_runs import Outcome, run_command
from fuzz_workers import FORK, run_cases

from rlpost.data import source_reasoning_gym

IMPORTED = (datasets, reasoning_gym, trl.data_utils)
"""By a case at most; here so that no worker spends its time on it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=int, default=0, help="mutations of recipes")
    parser.add_argument("--data", type=int, default=0, help="mutations of data files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first of each")
    parser.add_argument("--starts", action="store_true", help="first of all what they start from, which must run")
    parser.add_argument("--commands", type=int, default=0, help="so many of the recipes by the command itself, too")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", action="append", default=[], help="only the case of this name, such as recipe/0/17")
    parser.add_argument("--json", type=Path, help="where to write all outcomes")
    options = parser.parse_args(arguments)
    transformers.logging.disable_progress_bar()
    # Well within what a case may compute; two stages may each ask a task for rows.
    source_reasoning_gym.ROW_TIMEOUT_S = 1.0
    names = options.case or (starts() if options.starts else []) + [
        f"{kind}/{options.seed}/{number}"
        for kind, count in (("recipe", options.recipes), ("data", options.data))
        for number in range(options.first, options.first + count)
    ]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rlpost-fuzz-") as place:
        datasets.config.HF_DATASETS_CACHE = Path(place) / "cache"
        outcomes = run_named(names, Path(place) / "ground", workers=options.workers, commands=options.commands)
    text = "\n".join(report(outcomes, seconds=time.monotonic() - started, whole=bool(options.case)))
    print(text.encode("utf-8", "backslashreplace").decode())
    if options.json is not None:
        content = [asdict(outcome) | {"case": outcome.case.name} for outcome in outcomes]
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(any(is_violation(outcome) for outcome in outcomes))


def run_named(names: Sequence[str], ground: Path, *, workers: int, commands: int) -> list[Outcome]:
    """Every case, and where it is a violation, a smaller case that is one; then some recipes by the command itself."""
    _make_ground_elsewhere(ground)
    outcomes: list[Outcome] = []

    def run(cases: Sequence[Case]) -> list[Outcome]:
        found: list[Outcome] = []
        run_cases(cases, ground=ground, workers=workers, on_outcome=found.append)
        return found

    for outcome in run([case_called(name) for name in names]):
        smaller = run(outcome.case.smaller()) if is_violation(outcome) else []
        outcomes.append(next((other for other in smaller if is_violation(other)), outcome))
    # Without options first: an argument of a process can hold no zero byte.
    mutated = [outcome for outcome in outcomes if outcome.case.name.startswith("recipe/") and not is_violation(outcome)]
    plain = [outcome for outcome in mutated if not any(words.startswith("--set") for words in outcome.told)]
    return outcomes + [run_command(outcome, ground=ground) for outcome in plain[:commands]]


def _make_ground_elsewhere(ground: Path) -> None:
    """In another process: this one forks, and must have started no threads of torch."""
    with FORK.Pool(1) as pool:
        pool.apply(make_ground, (ground,))


def is_violation(outcome: Outcome) -> bool:
    """Whether it ended neither refused nor run; where nothing was changed, a refusal is one too."""
    fine = ("ran",) if outcome.case.name.startswith("start/") else ("ran", "refused", "command")
    return not outcome.result.startswith(fine)


def report(outcomes: Sequence[Outcome], *, seconds: float, whole: bool) -> list[str]:
    """A table of outcomes, then each violation with what makes it again."""
    counts = Counter((outcome.case.name.partition("/")[0], outcome.result) for outcome in outcomes)
    lines = [f"{'what':<8}{'outcome':<44}{'cases':>7}"]
    lines += [f"{kind:<8}{result:<44}{count:>7}" for (kind, result), count in sorted(counts.items())]
    lines.append(f"{len(outcomes)} cases in {seconds:.0f} s")
    for outcome in outcomes:
        if is_violation(outcome) or whole:
            lines += [f"\n{outcome.case.name}: {outcome.result}: {outcome.message}", f"  {'; '.join(outcome.told)}"]
    return lines


if __name__ == "__main__":
    sys.exit(main())
