"""Whether an engine grows with the variety of what it is asked, apart from what the KV cache holds."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import numpy as np
import psutil
import pytest
from engine_probe import a_request, ask, last_word_of, start_generator
from tiny_models import save_tiny_model

from rlpost.rollout.vllm_generator import VllmGenerator

pytestmark = pytest.mark.engine
WARM_UP, BATCHES = 120, 240
MOST_MIB = 60.0
"""Seen: 23; with as many compiled products as oneDNN keeps by itself 210."""


def resident_mib() -> float:
    """What this process alone has in memory, without pages of files, which other processes may share or not."""
    pages = psutil.Process().memory_info()
    return (pages.rss - pages.shared) / 2**20


def ask_in_all_sizes(generator: VllmGenerator, batches: int, numbers: count[int]) -> None:
    """Prompts only, so that each batch is one step, of a number of rows that was hardly ever seen before."""
    dice = np.random.default_rng(next(numbers))
    for _ in range(batches):
        lengths = dice.integers(1, 60, size=int(dice.integers(1, 33)))
        seeds = [next(numbers) for _ in lengths]
        ask(
            generator,
            [
                a_request(str(seed), seed=seed, prompt_length=int(length), max_tokens=1)
                for seed, length in zip(seeds, lengths, strict=True)
            ],
        )


def growth_mib(folder: Path) -> float:
    """Of this process, over `BATCHES` batches after the warm-up."""
    generator = start_generator(save_tiny_model(folder / "model", tied=True, seed=0), weight_version=0, kv_cache_mib=8)
    numbers = count()
    try:
        ask_in_all_sizes(generator, WARM_UP, numbers)
        before = resident_mib()
        ask_in_all_sizes(generator, BATCHES, numbers)
        return resident_mib() - before
    finally:
        generator.close()


def test_an_engine_that_is_asked_in_ever_new_batch_sizes_does_not_grow(tmp_path: Path) -> None:
    assert float(last_word_of(__file__, tmp_path)) < MOST_MIB


if __name__ == "__main__":
    print(growth_mib(Path(sys.argv[1])))
