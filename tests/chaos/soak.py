"""An hour of asynchronous RL in which parts are killed at random: does the run hold, and does any process grow?

    .venv/bin/python tests/chaos/soak.py FOLDER [--minutes 60] [--seed 0]

Rollouts run up to four versions ahead. Every minute or two an engine, a learner rank, a verifier or the driver gets
SIGKILL; the driver is started again. At the end the run is told to stop, and its ledger must verify. `soak.json` has
the kills, the steps, and for each kind of process how its memory (resident, without pages of files, which count for one
process or another as others come and go) grew while it lived, in MiB an hour; `memory.csv` has every sample.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from chaos import start_of
from chaos_world import PREEMPTED, TWO_ENGINES, World, ledger_verifies
from disturbed_run import DisturbedRun, Place

ROLES = {
    "ray::GeneratorActor": "engine",
    "ray::LearnerActor": "learner rank",
    "rlpost.scoring.worker_main": "verifier",
    "raylet/raylet": "raylet",
    "gcs_server": "gcs",
}
SAMPLE_EVERY_S = 5.0
WARM_UP_S = {"verifier": 15.0}
USUAL_WARM_UP_S = 120.0
"""Of a process, not looked at: caches fill, libraries load. A verifier is replaced by a new one after some minutes."""
SHORTEST_S = {"verifier": 60.0}
USUAL_SHORTEST_S = 180.0
"""Of a process's life after that, for a slope that means something."""
VICTIMS = {"engine": 5, "verifier": 2, "learner rank": 2, "driver": 1}
"""How often each is chosen, relative to the others."""
PAUSE_S = (45.0, 120.0)
SMALL_CACHE = {"kv_cache_mib": 48}
SETTLE_S = 60.0
"""After the driver was killed: what it starts again is not killed at once."""


@dataclass
class Life:
    """The memory of one process over its life."""

    role: str
    times_s: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def slope_mib_per_h(self) -> float | None:
        """By least squares after the warm-up; None where the process did not live long enough."""
        warm_s = self.times_s[0] + WARM_UP_S.get(self.role, USUAL_WARM_UP_S)
        kept = [(at, size) for at, size in zip(self.times_s, self.mib, strict=True) if at >= warm_s]
        if not kept or kept[-1][0] - kept[0][0] < SHORTEST_S.get(self.role, USUAL_SHORTEST_S):
            return None
        times_s, mib = zip(*kept, strict=True)
        return statistics.linear_regression(times_s, mib).slope * 3600


@dataclass
class Soak:
    """One soak under way."""

    place: Place
    minutes: float
    dice: random.Random
    lives: dict[int, Life] = field(default_factory=dict)
    kills: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """To its end; what was found."""
        end_s = time.time() + 60 * self.minutes
        code: int | None = None
        while time.time() < end_s:
            with DisturbedRun(self.place) as life:
                self._live(life, until_s=end_s)
                code = life.process.poll()
                assert code in (None, -signal.SIGKILL), f"the run ended with {code}: {life.text()[-2000:]}"
                if code is None:
                    life.signal(signal.SIGTERM)
                    code = life.wait(within_s=120)
        assert code == PREEMPTED, f"told to stop, the run ended with {code}"
        return {
            "minutes": self.minutes,
            "steps": len(self.place.records()),
            "kills": {victim: sum(kill["victim"] == victim for kill in self.kills) for victim in VICTIMS},
            "longest_wait_for_a_step_s": round(self._longest_step_s(), 1),
            "ledger": ledger_verifies(self.place),
            "memory": self._memory(),
        }

    def _live(self, life: DisturbedRun, *, until_s: float) -> None:
        next_kill_s = time.time() + SETTLE_S
        while time.time() < until_s and life.process.poll() is None:
            found = self._sample(life.process.pid)
            if time.time() >= next_kill_s:
                self._kill(life, found)
                next_kill_s = time.time() + self.dice.uniform(*PAUSE_S)
            time.sleep(SAMPLE_EVERY_S)

    def _sample(self, driver: int) -> dict[int, str]:
        """Role of each process of the run; notes how large it is."""
        found: dict[int, str] = {}
        try:
            processes = [psutil.Process(driver), *psutil.Process(driver).children(recursive=True)]
        except psutil.NoSuchProcess:
            return found
        lines, now_s, steps = [], time.time(), len(self.place.records())
        for process in processes:
            try:
                role = "driver" if process.pid == driver else role_of(" ".join(process.cmdline()))
                pages = process.memory_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            size = (pages.rss - pages.shared) / 2**20
            if role is not None and size > 0:  # One that has ended and waits to be collected has no memory.
                found[process.pid] = role
                life = self.lives.setdefault(process.pid, Life(role))
                life.times_s.append(now_s)
                life.mib.append(size)
                lines.append(f"{now_s:.0f},{steps},{role},{process.pid},{size:.1f}\n")
        with (self.place.folder / "memory.csv").open("a") as samples:
            samples.writelines(lines)
        return found

    def _kill(self, life: DisturbedRun, found: dict[int, str]) -> None:
        victim = self.dice.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        pids = sorted(pid for pid, role in found.items() if role == victim)
        if not pids:
            return
        pid = self.dice.choice(pids)
        self.kills.append({"victim": victim, "at_s": time.time(), "step": len(self.place.records())})
        print(f"{time.strftime('%T')} step {self.kills[-1]['step']}: kill {victim} {pid}", file=sys.stderr, flush=True)
        os.kill(pid, signal.SIGKILL)
        if victim == "driver":
            life.process.wait(timeout=30)

    def _longest_step_s(self) -> float:
        return max(record["time/step_s"] for record in self.place.records())

    def _memory(self) -> dict[str, Any]:
        by_role: dict[str, Any] = {}
        for role in sorted({life.role for life in self.lives.values()}):
            lives = [life for life in self.lives.values() if life.role == role]
            slopes = [slope for life in lives if (slope := life.slope_mib_per_h()) is not None]
            by_role[role] = {
                "processes": len(lives),
                "largest_mib": round(max(max(life.mib) for life in lives)),
                "mib_per_h": [round(slope, 1) for slope in slopes],
                "median_mib_per_h": round(statistics.median(slopes), 1) if slopes else None,
            }
        return by_role


def role_of(command: str) -> str | None:
    """What a process of a run is for; None where it is none of those that are watched."""
    return next((role for part, role in ROLES.items() if part in command), None)


def soak_place(folder: Path) -> Place:
    """A run without end, at a learning rate at which the model stays what it is."""
    world = World(folder=folder, model=start_of(folder))
    return world.place(
        "soak",
        # Pages of the KV cache count once they were used; a small one is used up within the warm-up.
        TWO_ENGINES
        | {
            "learner": {**TWO_ENGINES["learner"], "max_restarts": 6},
            "rollout": {**TWO_ENGINES["rollout"], **SMALL_CACHE},
        },
        max_staleness=4,
        steps=1_000_000,
        optimizer={"learning_rate": 1e-7},
        learner={"checkpoint_every": 20},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    outcome = Soak(soak_place(folder), options.minutes, random.Random(options.seed)).run()
    (folder / "soak.json").write_text(json.dumps(outcome, indent=1) + "\n")
    print(json.dumps(outcome, indent=1))
