"""Measures programs per second on one core in the sandbox: `code.unit_tests`, and `code.stdio` with one test.

Both verifiers are called as a worker calls them, one sample after another, with this process and its children on one
core; self-test and launcher start are not timed. Programs and tests are typical of coding data sets: a few functions,
three asserts or one input. Every verdict is checked.

A rate is programs per second of wall-clock time, the median of the rounds. The processor time of one program is shown
beside it, which a busy machine changes less.

    .venv/bin/python benchmarks/sandbox_speed.py [--programs 300] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewards.code import stdio, unit_tests
from rlpost.records import Sample
from rlpost.sandbox.host import launcher
from rlpost.sandbox.self_test import require_containment
from rlpost.scoring.authoring import Verifier

BAR_PROGRAMS_PER_S = 60
_PROGRAM = """
from collections import Counter

def most_common(words):
    counts = Counter(words)
    best = max(counts.values())
    return sorted(word for word, count in counts.items() if count == best)

def running_maximum(numbers):
    found = []
    for number in numbers:
        found.append(number if not found else max(found[-1], number))
    return found
"""
_ASSERTS = """
assert most_common(["b", "a", "b", "a", "c"]) == ["a", "b"]
assert running_maximum([1, 3, 2, 5]) == [1, 3, 3, 5]
assert running_maximum([]) == []
"""
_MAIN = "\nprint(*running_maximum([int(word) for word in input().split()]))\n"


def unit_test_samples(count: int) -> list[Sample]:
    """Make samples of which every second one is wrong."""
    wrong = _PROGRAM.replace("max(found[-1], number)", "number")
    return [
        Sample(id=str(place), prompt="", response=f"```python\n{wrong if place % 2 else _PROGRAM}```", gold=_ASSERTS)
        for place in range(count)
    ]


def stdio_samples(count: int) -> list[Sample]:
    """Make samples of which every second one is wrong."""
    gold = [{"input": "1 3 2 5\n", "output": "1 3 3 5\n"}]
    wrong = (_PROGRAM + _MAIN).replace("max(found[-1], number)", "number")
    return [
        Sample(id=str(place), prompt="", response=wrong if place % 2 else _PROGRAM + _MAIN, gold=gold)
        for place in range(count)
    ]


def measure(verifier: Verifier, samples: Sequence[Sample]) -> dict[str, float]:
    """Return programs per second, and processor milliseconds per program."""
    params = verifier.validated({})
    started, cpu_before = time.perf_counter(), _cpu_seconds()
    scores = [verifier.judge(sample, params=params).score for sample in samples]
    seconds, cpu_s = time.perf_counter() - started, _cpu_seconds() - cpu_before
    assert scores == [float(place % 2 == 0) for place in range(len(samples))], "a verdict is wrong"
    return {"per_s": len(samples) / seconds, "cpu_ms": 1000 * cpu_s / len(samples)}


def _cpu_seconds() -> float:
    """Return the processor time of this process, its launcher, and the guests that the launcher has reaped."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = Path(f"/proc/{launcher().process_id}/stat").read_text().rpartition(")")[2].split()
    own = os.times()
    return own.user + own.system + sum(int(field) for field in fields[11:15]) / ticks


def report(*, programs: int, rounds: int) -> dict[str, Any]:
    """Measure all rounds; return them with their medians and the bar."""
    require_containment()
    measured = {
        "code.unit_tests": [measure(unit_tests, unit_test_samples(programs)) for _ in range(rounds)],
        "code.stdio": [measure(stdio, stdio_samples(programs)) for _ in range(rounds)],
    }
    middle = {
        name: {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
        for name, found in measured.items()
    }
    per_second = middle["code.unit_tests"]["per_s"]
    return {
        "rounds": rounds,
        "programs": programs,
        "medians": middle,
        "per_s_of_each_round": {name: [round(one["per_s"], 1) for one in found] for name, found in measured.items()},
        "bars": {
            "unit_tests_per_s_on_one_core": {
                "bar": BAR_PROGRAMS_PER_S,
                "measured": per_second,
                "met": per_second >= BAR_PROGRAMS_PER_S,
            },
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    json.dump(report(programs=options.programs, rounds=options.rounds), sys.stdout, indent=2)
