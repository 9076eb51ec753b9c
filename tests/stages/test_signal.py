"""Dynamic sampling, and the share of groups with signal, see the scores that advantages are made of."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from fakes import FakeLearner, make_group, scored
from in_order import in_order

from rlpost.recipe.stages import GrpoStage
from rlpost.records import RolloutGroup, Verdict
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.dynamic_sampling import SignalFilter
from rlpost.rollout.ledger import PromptLedger
from rlpost.stages.rl.batch import advantage_for, train_batches
from rlpost.stages.rl.loop import loss_of
from rlpost.stages.rl.metrics import _of_groups
from rlpost.stages.rl.scores import shaped_scores

GDPO = {"combine": "normalise_then_sum", "parts": {"right": 1.0, "short": 0.5}}


def grpo(**changes: Any) -> GrpoStage:
    return GrpoStage.model_validate(
        {
            "kind": "grpo",
            "name": "rl",
            "data": ["sums"],
            "steps": 1,
            "prompts_per_step": 1,
            "samples_per_prompt": 4,
            "sampling": {"max_tokens": 8},
            "optimizer": {"learning_rate": 1e-3},
            "dynamic_sampling": {},
        }
        | changes
    )


def cut_off(group: RolloutGroup, *samples: int) -> RolloutGroup:
    """The group with some of its responses ended by their length."""
    episodes = [
        replace(
            episode,
            trajectories=tuple(
                replace(one, finish="length" if episode.sample in samples else "stop") for one in episode.trajectories
            ),
        )
        for episode in group.episodes
    ]
    return replace(group, episodes=tuple(episodes))


def of_parts(*parts: tuple[float, float]) -> list[Verdict]:
    return [Verdict(score=1.0, parts={"right": right, "short": short}) for right, short in parts]


CASES = {
    "all right, one cut off and punished": (
        {"truncated_score": -1.0},
        cut_off(make_group(scored(1, 1, 1, 1)), 3),
        True,
    ),
    "right and wrong, all cut off and scored alike": (
        {"truncated_score": -1.0},
        cut_off(make_group(scored(1, 0, 1, 0)), 0, 1, 2, 3),
        False,
    ),
    "all right, one punished for its length": (
        {"overlong": {}},
        make_group(scored(1, 1, 1, 1), lengths=[2, 2, 2, 8]),
        True,
    ),
    "a weighted sum of parts that is equal": (
        {"advantage": {"parts": {"right": 1.0, "short": 0.5}}},
        make_group(of_parts((1, 0), (0, 2), (1, 0), (0, 2))),
        False,
    ),
    "the same parts, each normalised first": (
        {"advantage": GDPO},
        make_group(of_parts((1, 0), (0, 2), (1, 0), (0, 2))),
        True,
    ),
    "parts that cancel after each was normalised": (
        {"advantage": GDPO | {"parts": {"right": 1.0, "short": 1.0}}},
        make_group(of_parts((0.1, 0.3), (0.2, 0.2), (0.3, 0.1), (0.2, 0.2))),
        False,
    ),
    "equal scores, added up in another order": ({}, make_group(scored(0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2)), False),
    "the same without a division by their spread": (
        {"advantage": {"scheme": "dr_grpo"}},
        make_group(scored(0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2)),
        False,
    ),
    "right and wrong, all cut off and left out of the loss": (
        {"mask_truncated": True},
        cut_off(make_group(scored(1, 0, 1, 0)), 0, 1, 2, 3),
        False,
    ),
    "all right but one that is cut off and left out of the loss": (
        {"mask_truncated": True},
        cut_off(make_group(scored(1, 1, 1, 0)), 3),
        True,
    ),
    "equal scores": ({}, make_group(scored(1, 1, 1, 1)), False),
    "different scores": ({}, make_group(scored(1, 1, 0, 1)), True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_group_is_left_out_exactly_when_its_advantages_would_be_zero(case: str) -> None:
    changes, group, has_signal = CASES[case]
    stage = grpo(**changes)
    buffer = RolloutBuffer(
        prompts_per_step=4, max_staleness=0, version=0, last_version=9, ledger=PromptLedger(), order=in_order()
    )
    keep = SignalFilter(buffer, max_refill=10, scores=partial(shaped_scores, stage=stage))
    assert (keep(group) is None) == has_signal
    assert _of_groups([group, group], stage)["groups_with_signal"] == float(has_signal)
    batches = train_batches(
        [group],
        FakeLearner(),
        stage,
        columns=loss_of(stage).columns,
        advantage=advantage_for(stage),
        version=0,
        seed=0,
    )
    largest = max((np.abs(batch.columns["advantages_T"]).max() for _, batch in batches), default=0.0)
    assert (largest > 1e-3) == has_signal
    assert has_signal or largest == 0, "a batch without a gradient is not made"
