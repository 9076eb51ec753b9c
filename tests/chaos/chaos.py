"""The chaos suite: real runs on real parts, each disturbed in one way, and what became of them.

    .venv/bin/python tests/chaos/chaos.py FOLDER [--only WORDS ...] [--times 1]

Prints every scenario with passed or FAILED, the time to recovery, the steps done again; leaves `chaos.json` in FOLDER.
Exit code 1 if one failed. Takes 20 to 30 minutes a time on two cores; nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from chaos_world import CHECKPOINT_EVERY, World
from disturbed_run import ROOT
from rich.console import Console
from rich.table import Table
from scenarios import SCENARIOS

ENGINE_BAR_S = 30.0
"""From the death of an engine until a new one serves."""


def start_of(folder: Path) -> Path:
    """A model that answers some sums right and some wrong, made once."""
    output = folder / "start"
    model = output / "stages" / "02-sft" / "model"
    if not (output / "stages" / "02-sft" / "manifest.json").is_file():
        recipe = ROOT / "recipes" / "smoke.yaml"
        command = [sys.executable, "-m", "rlpost", "run", str(recipe), "--set", f"output={output}", "--until", "sft"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return model


def tried(name: str, world: World) -> dict[str, Any]:
    """One scenario: what it measured, or how it failed."""
    started = time.monotonic()
    try:
        found = SCENARIOS[name](world)
        broken = bars_missed(found)
        outcome: dict[str, Any] = {"passed": not broken, **({"failure": "; ".join(broken)} if broken else {}), **found}
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        outcome = {"passed": False, "failure": str(error) or traceback.format_exc(limit=-3)}
    return {"scenario": name, **outcome, "seconds": round(time.monotonic() - started, 1)}


def bars_missed(found: dict[str, Any]) -> list[str]:
    """The bars that hold for every scenario."""
    missed: list[str] = []
    slow = [seconds for seconds in found.get("serves_again_s", []) if seconds > ENGINE_BAR_S]
    if slow:
        missed.append(f"a new engine served after {max(slow):g} s, the bar is {ENGINE_BAR_S:g} s")
    if None in found["recovery_s"]:
        missed.append("no step was taken after the fault")
    lives = found.get("kills", 1) + len(found["recovery_s"])
    if found["steps_done_again"] > lives * CHECKPOINT_EVERY * 2:
        missed.append(f"{found['steps_done_again']} steps were done again, more than checkpoint intervals")
    return missed


def show(outcomes: list[dict[str, Any]]) -> None:
    """The table."""
    table = Table(title="chaos", title_justify="left")
    for heading in ("scenario", "", "recovery, s", "engine serves, s", "steps done again", "took, s"):
        table.add_column(heading, overflow="fold")
    for outcome in outcomes:
        table.add_row(
            outcome["scenario"],
            "passed" if outcome["passed"] else "FAILED",
            ", ".join(map(str, outcome.get("recovery_s", []))),
            ", ".join(map(str, outcome.get("serves_again_s", []))),
            str(outcome.get("steps_done_again", "")),
            str(outcome["seconds"]),
        )
    console = Console(width=130)
    console.print(table)
    for outcome in outcomes:
        if not outcome["passed"]:
            console.print(f"{outcome['scenario']}: {outcome['failure']}", markup=False, highlight=False)


def main(folder: Path, *, only: list[str], times: int) -> int:
    """All chosen scenarios, `times` times; exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in SCENARIOS if not only or any(word in name for word in only)]
    assert chosen, f"no scenario has {only} in its name: {list(SCENARIOS)}"
    outcomes: list[dict[str, Any]] = []
    world = World(folder=folder, model=start_of(folder))
    for turn in range(times):
        for name in chosen:
            outcomes.append({"turn": turn, **tried(name, world)})
            last = outcomes[-1]
            print(
                f"{last['seconds']:6.1f} s  {'passed' if last['passed'] else 'FAILED'}  {name}",
                file=sys.stderr,
                flush=True,
            )
            (folder / "chaos.json").write_text(json.dumps(outcomes, indent=1))
    show(outcomes)
    return 0 if all(outcome["passed"] for outcome in outcomes) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[], help="scenarios whose names have one of these in them")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    sys.exit(main(options.folder.resolve(), only=options.only, times=options.times))
