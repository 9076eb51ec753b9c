from __future__ import annotations

import re

import pytest

from rlpost.telemetry.account import step_account
from rlpost.telemetry.bottleneck import bottleneck_sentence, shares_of


def records(*, busy: float = 1.0, count: int = 4, **parts_s: float) -> list[dict[str, float]]:
    return [step_account(1.0, **parts_s) | {"engines/busy_share": busy}] * count


def test_shares_weigh_a_step_by_its_length_and_leave_the_warm_up_out() -> None:
    warm_up = [step_account(100.0, sync=100.0)] * 2
    steps = [step_account(1.0, train=1.0), step_account(3.0, wait=3.0)]
    shares = shares_of([*warm_up, *steps])
    assert (shares.train, shares.wait, shares.sync) == (0.25, 0.75, 0.0)


def test_a_stage_of_two_steps_still_has_shares() -> None:
    assert shares_of(records(count=2, train=0.5)).train == 0.5


@pytest.mark.parametrize(
    ("staleness", "busy", "parts_s", "expected"),
    [
        (0, 0.4, {"generate": 0.4, "train": 0.5}, "side by side .* up to 1.8 times as fast"),
        (0, 0.9, {"generate": 0.95, "train": 0.05}, "generating takes 95% .* more rollout.actors"),
        (0, 0.9, {"generate": 0.04, "train": 0.95}, "more learner.ranks"),
        (2, 0.98, {"wait": 0.41, "train": 0.5}, "training waits 41% .* busy 98% .* add rollout actors"),
        (1, 0.5, {"wait": 0.3, "train": 0.6}, "slowest responses and engines idle 50%: raise max_staleness"),
        (4, 0.6, {"wait": 0.02, "train": 0.9}, "engines idle 40% .* add learner ranks"),
        (4, 0.95, {"wait": 0.05, "train": 0.9}, "well balanced: training waits 5% of a step, engines idle 5%"),
        (0, 0.1, {"generate": 0.1, "wait": 0.8}, "80% of a step nobody generates, scores or trains: engines were away"),
        (0, 0.1, {"generate": 0.1, "score": 0.7, "train": 0.1}, "score takes 70% of a step; raise scoring.workers"),
        (3, 0.1, {"sync": 0.6, "train": 0.3}, "sync takes 60% .* lora.sync: adapter"),
        (3, 0.1, {"train": 0.3}, "other takes 70% .* larger batches"),
    ],
)
def test_the_sentence_names_the_longest_part_and_what_to_change(
    staleness: int, busy: float, parts_s: dict[str, float], expected: str
) -> None:
    sentence = bottleneck_sentence(records(busy=busy, **parts_s), max_staleness=staleness)

    assert re.search(expected, sentence), sentence
