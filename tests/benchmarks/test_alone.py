"""The parts of a run, measured alone, must do what the run does."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import alone
import numpy as np
import pytest
from fake_generator import SAMPLING, FakeGenerator
from workloads import GROUP_SIZE, GROUPS_PER_STEP, SAMPLES_PER_STEP

from rlpost.records import GenerationRequest


def requests(options: Namespace) -> Iterator[GenerationRequest]:
    for index in range((options.steps + 1 + options.ahead) * GROUPS_PER_STEP):
        for sample in range(GROUP_SIZE):
            prompt = np.array([4, 5], np.int32)
            yield GenerationRequest(key=(str(index), sample), prompt_token_ids=prompt, sampling=SAMPLING, seed=sample)


@pytest.mark.parametrize("ahead", [0, 2])
def test_training_gets_every_answer_of_its_steps_however_long_one_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """An answer that takes longer than all others must not make its whole group vanish from what is trained on."""
    generator = FakeGenerator(latency_s=lambda request: 0.3 if request.key == ("0", 0) and ahead else 0.0)
    monkeypatch.setattr(alone, "start_engine", lambda *_, **__: generator)
    monkeypatch.setattr(alone, "requests_in_order", requests)
    options = Namespace(workload=Path("even-3m"), rollouts=tmp_path / "rollouts.jsonl", threads=1, dtype="float32")
    options.steps, options.warmup, options.ahead = 3, 1, ahead
    alone.generation(options)
    keys = [tuple(json.loads(line)["key"]) for line in options.rollouts.read_text().splitlines()]
    assert keys == [(str(index), sample) for index in range(3 * GROUPS_PER_STEP) for sample in range(GROUP_SIZE)]
    assert len(keys) == 3 * SAMPLES_PER_STEP
