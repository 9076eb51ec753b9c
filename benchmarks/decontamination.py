"""Measures how many training rows a minute are compared with evaluation sets, and how time grows with either.

    .venv/bin/python benchmarks/decontamination.py

Rows are random words: 80 in each training row, 60 in each instance; a hundredth of the rows quote an instance. Each
combination is timed once, on one core, in memory; reading files is not part of it.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

from rlpost.data.overlap.contamination import InstanceIndex, Rule
from rlpost.data.overlap.near_duplicates import near_duplicates

BAR_PER_MINUTE = 20_000
ROWS, INSTANCES = (10_000, 40_000, 160_000), (1_000, 10_000, 50_000)
WORDS = [f"word{number}" for number in range(20_000)]
RULE = Rule(ngram_size=8, instance_share=0.5)


def measured() -> dict[str, Any]:
    """Vary the rows with the middle number of instances, and the instances with the first number of rows."""
    dice = random.Random(3)
    instances = [[dice.choices(WORDS, k=60)] for _ in range(INSTANCES[-1])]
    rows = [row_of(dice, instances[: INSTANCES[0]]) for _ in range(ROWS[-1])]
    by_rows = {count: compared(instances[: INSTANCES[1]], rows[:count]) for count in ROWS}
    by_instances = {count: compared(instances[:count], rows[: ROWS[0]]) for count in INSTANCES}
    started = time.perf_counter()
    near_duplicates((row[0] for row in rows[: ROWS[0]]), shingle_size=5, threshold=0.8)
    slowest = min(one["rows_per_minute"] for one in (*by_rows.values(), *by_instances.values()))
    return {
        "by_rows": by_rows,
        "by_instances": by_instances,
        "near_duplicates_rows_per_minute": round(60 * ROWS[0] / (time.perf_counter() - started)),
        "bars": {
            "decontamination: rows a minute": {
                "bar": BAR_PER_MINUTE,
                "measured": slowest,
                "met": slowest >= BAR_PER_MINUTE,
            }
        },
    }


def row_of(dice: random.Random, instances: list[list[list[str]]]) -> list[list[str]]:
    """Make one training row, of which one in a hundred quotes an instance."""
    words = dice.choices(WORDS, k=80)
    if dice.random() < 0.01:
        words[10:70] = dice.choice(instances)[0]
    return [words]


def compared(instances: list[list[list[str]]], rows: list[list[list[str]]]) -> dict[str, Any]:
    """Time the index and the comparison."""
    started = time.perf_counter()
    index = InstanceIndex(instances, rule=RULE)
    indexed = time.perf_counter()
    found = index.overlaps(rows)
    seconds = time.perf_counter() - indexed
    return {
        "index_s": round(indexed - started, 2),
        "seconds": round(seconds, 2),
        "rows_per_minute": round(60 * len(rows) / seconds),
        "overlaps": len(found),
    }


if __name__ == "__main__":
    print(json.dumps(measured(), indent=2))
