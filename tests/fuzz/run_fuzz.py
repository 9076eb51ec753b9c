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

# Before transformers and datasets are imported: nothing here looks for a network, or leaves a cache behind.
PLACE = tempfile.TemporaryDirectory(prefix="rlpost-fuzz-")
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": f"{PLACE.name}/hub",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "OMP_NUM_THREADS": "1",
}

import datasets
import reasoning_gym
import transformers
import trl.data_utils
from fuzz_cases import Case, case_called
from fuzz_ground import make_ground
from fuzz_runs import Outcome
from fuzz_workers import FORK, run_cases

IMPORTED = (datasets, reasoning_gym, trl.data_utils)
"""By a case at most; here so that no worker spends its time on it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=int, default=0, help="mutations of recipes")
    parser.add_argument("--data", type=int, default=0, help="mutations of data files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first of each")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", action="append", default=[], help="only the case of this name, such as recipe/0/17")
    parser.add_argument("--json", type=Path, help="where to write all outcomes")
    options = parser.parse_args(arguments)
    transformers.logging.disable_progress_bar()
    names = options.case or [
        f"{kind}/{options.seed}/{number}"
        for kind, count in (("recipe", options.recipes), ("data", options.data))
        for number in range(options.first, options.first + count)
    ]
    started = time.monotonic()
    outcomes = run_named(names, workers=options.workers)
    print("\n".join(report(outcomes, seconds=time.monotonic() - started, whole=bool(options.case))))
    if options.json is not None:
        content = [asdict(outcome) | {"case": outcome.case.name} for outcome in outcomes]
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(any(is_violation(outcome) for outcome in outcomes))


def run_named(names: Sequence[str], *, workers: int) -> list[Outcome]:
    """Every case, and where it is a violation, the smallest case that is the same one."""
    ground = Path(PLACE.name) / "ground"
    recipes = _ground_made_elsewhere(ground)
    outcomes: list[Outcome] = []

    def run(cases: Sequence[Case]) -> list[Outcome]:
        found: list[Outcome] = []
        run_cases(cases, ground=ground, recipes=recipes, workers=workers, on_outcome=found.append)
        return found

    for outcome in run([case_called(name) for name in names]):
        smaller = run(outcome.case.smaller()) if is_violation(outcome) else []
        outcomes.append(next((other for other in smaller if is_violation(other)), outcome))
    return outcomes


def _ground_made_elsewhere(ground: Path) -> list[str]:
    """In another process: this one forks, and must have started no threads of torch."""
    with FORK.Pool(1) as pool:
        return pool.apply(make_ground, (ground,))


def is_violation(outcome: Outcome) -> bool:
    """Whether it ended neither refused nor run; a case that cannot be made counts too."""
    return not outcome.result.startswith(("ran", "refused"))


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
