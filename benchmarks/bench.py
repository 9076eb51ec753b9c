"""Runs the benchmarks one after another and prints every bar: figure, bar, passed or MISSED.

    .venv/bin/python benchmarks/bench.py FOLDER [--quick] [--only NAME ...] [--resume]

FOLDER keeps workloads, TRL's fastest settings, and each benchmark's JSON. A failing benchmark is reported as failed,
and the others still run. `--resume` continues an interrupted series. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from workloads import ROOT


class Benchmark(NamedTuple):
    """One benchmark command."""

    name: str
    script: str
    arguments: tuple[str, ...]
    takes_folder: bool


def benchmarks(*, quick: bool) -> list[Benchmark]:
    """List the benchmarks, the short ones first."""
    scripts = ("control_plane", "learner_memory", "weight_sync", "sandbox_speed", "decontamination")
    own = [Benchmark(name, f"{name}.py", (), False) for name in scripts]
    small = ("--only", "even-3m", "long-3m")
    if quick:
        rounds = (*small, "--rounds", "1")
        return [
            own[0],
            Benchmark("against_trl_quick", "against_trl.py", rounds, True),
            Benchmark("against_limit_quick", "against_limit.py", rounds, True),
        ]
    return [
        *own,
        Benchmark("against_limit", "against_limit.py", (), True),
        Benchmark("supervised_4m", "supervised_against_trl.py", ("--only", "sft-4m", "dpo-4m"), True),
        Benchmark("supervised_50m", "supervised_against_trl.py", ("--only", "sft-50m", "dpo-50m"), True),
        Benchmark("against_trl_3m", "against_trl.py", small, True),
        Benchmark("accuracy", "against_trl.py", ("--only", "even-3m", "--accuracy"), True),
        Benchmark("against_trl_even_50m", "against_trl.py", ("--only", "even-50m", "--rounds", "2"), True),
        Benchmark("against_trl_long_50m", "against_trl.py", ("--only", "long-50m", "--rounds", "2"), True),
    ]


def run(benchmark: Benchmark, folder: Path, *, resume: bool) -> dict[str, Any] | None:
    """Run a benchmark; return its result, which is also written to `<name>.json`, or None if it failed. With `resume`,
    a benchmark with a result is not run again.
    """
    answer = folder / f"{benchmark.name}.json"
    if resume and answer.exists():
        return {"found": answer_in(answer.read_text())}
    answer.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks" / benchmark.script)]
    command += [str(folder)] if benchmark.takes_folder else []
    started = time.perf_counter()
    ended = subprocess.run([*command, *benchmark.arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    print(f"{benchmark.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if ended.returncode:
        print(ended.stderr[-2000:], file=sys.stderr, flush=True)
        return None
    answer.write_text(ended.stdout)
    return {"found": answer_in(ended.stdout)}


def answer_in(output: str) -> Any:
    """Return the JSON that ends the output; an engine may have logged lines before it, some of which begin with a
    bracket.
    """
    lines = output.splitlines()
    for start, line in enumerate(lines):
        if line.startswith(("{", "[")):
            try:
                return json.loads("\n".join(lines[start:]))
            except json.JSONDecodeError:
                continue
    raise ValueError(f"a benchmark prints a JSON object last; found {output[-200:]!r}")


def bars_in(found: Any) -> dict[str, dict[str, Any]]:
    """Return every `bars` table anywhere in a benchmark's result."""
    if isinstance(found, list):
        return {name: bar for part in found for name, bar in bars_in(part).items()}
    if not isinstance(found, dict):
        return {}
    own = dict(found.get("bars", {}))
    return own | {name: bar for key, part in found.items() if key != "bars" for name, bar in bars_in(part).items()}


def row_of(name: str, bar: dict[str, Any]) -> tuple[str, str, str, str]:
    """Format a bar, which is a lower or an upper limit; whether it was met shows which one."""
    sign = ">=" if (bar["measured"] >= bar["bar"]) == bar["met"] else "<="
    return name, f"{bar['measured']:g}", f"{sign} {bar['bar']:g}", "passed" if bar["met"] else "MISSED"


def show(answers: dict[str, dict[str, Any] | None]) -> bool:
    """Print the table; return whether every bar was met."""
    table = Table(title="benchmark bars", title_justify="left")
    for heading in ("benchmark", "name", "figure", "bar", ""):
        table.add_column(heading, overflow="fold")
    passed = True
    for benchmark, answer in answers.items():
        if answer is None:
            table.add_row(benchmark, "did not run to its end", "", "", "MISSED")
            passed = False
            continue
        for name, bar in bars_in(answer["found"]).items():
            table.add_row(benchmark, *row_of(name, bar))
            passed = passed and bar["met"]
    Console(width=140).print(table)
    return passed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="one round of the small models, no accuracy")
    parser.add_argument("--resume", action="store_true", help="what is finished in FOLDER is shown, and not run again")
    names = [benchmark.name for benchmark in benchmarks(quick=False)]
    parser.add_argument("--only", nargs="+", choices=names, help="where not all of them fit into the time")
    options = parser.parse_args()
    place = options.folder.resolve()
    place.mkdir(parents=True, exist_ok=True)
    chosen = [each for each in benchmarks(quick=options.quick) if options.only is None or each.name in options.only]
    found = {benchmark.name: run(benchmark, place, resume=options.resume) for benchmark in chosen}
    sys.exit(0 if show(found) else 1)
