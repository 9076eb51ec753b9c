"""Measures how much two busy cores are worth: virtual cores may share a physical one, or be slowed by neighbours.

    .venv/bin/python benchmarks/two_cores.py

A loop of plain Python runs alone on core 0, then on cores 0 and 1 at the same time. `share` is the speed of the slower
loop divided by the speed alone: 1 on cores that share nothing. A step that overlaps two jobs of equal length takes 1 /
share times as long as one of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

SECONDS = 2.0
ROUNDS = 3


def measured() -> dict[str, Any]:
    """Return the median round."""
    rounds = sorted((one_round() for _ in range(ROUNDS)), key=lambda turn: turn["share"])
    return rounds[ROUNDS // 2]


def one_round() -> dict[str, Any]:
    """Measure one loop alone, then two at the same time."""
    (alone,) = loops_on([0])
    both = loops_on([0, 1])
    return {
        "alone": round(alone),
        "side_by_side": [round(speed) for speed in both],
        "share": round(min(both) / alone, 2),
    }


def loops_on(cores: list[int]) -> list[float]:
    """Return iterations per second of one loop on each of the cores, at the same time."""
    commands = [[sys.executable, __file__, str(core)] for core in cores]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    return [float(process.communicate()[0]) for process in running]


def loop_on(core: int) -> float:
    """Return iterations per second."""
    os.sched_setaffinity(0, {core})
    turns, started = 0, time.perf_counter()
    while (passed_s := time.perf_counter() - started) < SECONDS:
        sum(number * number for number in range(20_000))
        turns += 1
    return turns / passed_s


if __name__ == "__main__":
    print(json.dumps(measured()) if len(sys.argv) == 1 else loop_on(int(sys.argv[1])))
