"""The clip is centred on the learner's own policy, so an engine's rounding is never clipped and always corrected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeLearner, make_group, scored
from hypothesis import given
from hypothesis import strategies as st
from rl_batches import grpo, minibatches_of, ppo
from torch import Tensor

from rlpost.interfaces import POLICY, LossInputs, LossSums
from rlpost.recipe.presets import preset_names
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.stages.rl.loop import loss_of
from rlpost.train_records import TrainBatch

LOSSES: list[dict[str, Any]] = [{"kind": "ppo_clip"}, {"kind": "cispo"}]


def stage_of(algorithm: str, **changes: Any) -> GrpoStage | PpoStage:
    """One group for each mini-batch, whatever the preset."""
    keys = {"algorithm": algorithm, "prompts_per_step": 16, **changes}
    stage = ppo(**keys) if "ppo" in algorithm else grpo(**keys, advantage={})
    return stage.model_copy(update={"prompts_per_step": stage.minibatches})


def inputs_of(batch: TrainBatch, learner: FakeLearner) -> LossInputs:
    """The scored tokens as a learner gives them to the loss before it has taken a step on them."""
    scored_T = np.flatnonzero(batch.weights_T)

    def column(values_T: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values_T, np.float32)[scored_T])

    return LossInputs(
        logprobs_T=column(learner.logprobs(batch, of=POLICY)).requires_grad_(),
        weights_T=column(batch.weights_T),
        columns={name: column(values_T) for name, values_T in batch.columns.items()},
        values_T=column(learner.values(batch)).requires_grad_(),
        row_T=torch.from_numpy(np.repeat(np.arange(len(batch.row_lengths_B)), batch.row_lengths_B)[scored_T]),
        row_count=len(batch.row_lengths_B),
        component="rl",
    )


def mean(sums: LossSums, name: str) -> float:
    total, count = sums.means[name]
    return float(total) / float(count)


@pytest.mark.parametrize("max_staleness", [0, 2])
@pytest.mark.parametrize("algorithm", preset_names())
def test_no_algorithm_clips_a_token_before_its_first_update_however_far_the_engine_is_off(
    algorithm: str, max_staleness: int
) -> None:
    stage, learner = stage_of(algorithm, max_staleness=max_staleness), FakeLearner()
    groups = [make_group(scored(1, 0), lengths=[3, 5], index=index) for index in range(stage.prompts_per_step)]
    _, first = minibatches_of(groups, stage, learner)[0]
    sums = loss_of(stage)(inputs_of(first, learner))
    assert float(sums.maxima["logprob_gap_max"]) > 0.3, "the engine gives other numbers than the learner"
    assert mean(sums, "clip_fraction") == 0
    assert (mean(sums, "ratio_mean"), float(sums.maxima["ratio_max"])) == (1, 1)
    assert mean(sums, "correction_mean") != 1, "the difference is corrected, not clipped"


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_centre_is_computed_with_the_rows_of_its_own_step_because_rounding_depends_on_them(epochs: int) -> None:
    stage, learner = grpo(algorithm="gspo", prompts_per_step=4, epochs=epochs), FakeLearner(rows_see_each_other=True)
    scores = [(1, 0), (1, 1), (0, 1), (1, 0)]
    groups = [make_group(scored(*pair), lengths=[2, 3], index=index) for index, pair in enumerate(scores)]
    first_pass = [batch for number, batch in minibatches_of(groups, stage, learner) if number < 4]
    assert learner.calls == ["logprobs"] * 3, "groups without signal are not computed, nor anything twice"
    for batch in first_pass:
        sums = loss_of(stage)(inputs_of(batch, learner))
        assert (mean(sums, "clip_fraction"), mean(sums, "ratio_mean"), float(sums.maxima["ratio_max"])) == (0, 1, 1)


@pytest.mark.parametrize("minibatches", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
@given(data=st.data())
def test_the_first_gradient_is_the_credit_times_the_capped_weight_of_the_engines_difference(
    loss: dict[str, Any], minibatches: int, data: st.DataObject
) -> None:
    stage = grpo(loss=loss, minibatches=minibatches)
    numbers = st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4)
    gaps_T, credit_T = (torch.tensor(data.draw(numbers)) for _ in range(2))
    logprobs_T = torch.full((4,), -2.0, requires_grad=True)
    columns = {
        "advantages_T": credit_T,
        "behaviour_logprobs_T": logprobs_T.detach() - gaps_T,
        "proximal_logprobs_T": logprobs_T.detach(),
    }
    inputs = LossInputs(
        logprobs_T=logprobs_T,
        weights_T=torch.ones(4),
        columns={name: columns[name] for name in loss_of(stage).columns},
        values_T=None,
        row_T=torch.zeros(4, dtype=torch.int64),
        row_count=1,
        component="rl",
    )
    (gradient_T,) = torch.autograd.grad(loss_of(stage)(inputs).total, logprobs_T)
    torch.testing.assert_close(gradient_T, -credit_T * gaps_T.exp().clamp(max=2.0), rtol=1e-5, atol=1e-7)


def test_a_correction_masks_at_staleness_0_too() -> None:
    stage = grpo(off_policy={"correction": "icepop", "low": 0.5, "high": 2.0})
    engine_T = torch.tensor([0.0, -3.0, 2.0, 0.0])
    inputs = LossInputs(
        logprobs_T=torch.zeros(4, requires_grad=True),
        weights_T=torch.ones(4),
        columns={"advantages_T": torch.ones(4), "behaviour_logprobs_T": engine_T},
        values_T=None,
        row_T=torch.zeros(4, dtype=torch.int64),
        row_count=1,
        component="rl",
    )
    sums = loss_of(stage)(inputs)
    assert mean(sums, "corrected_fraction") == 0.5
    assert torch.autograd.grad(sums.total, inputs.logprobs_T)[0].tolist() == [-1, 0, 0, -1]


def test_around_the_engines_numbers_rounding_is_clipped_which_a_recipe_must_ask_for() -> None:
    keys = {"algorithm": "gspo", "advantage": {}, "minibatches": 1, "off_policy": {"proximal": "behaviour"}}
    stage, learner = grpo(**keys), FakeLearner()
    ((_, batch),) = minibatches_of([make_group(scored(1, 0))], stage, learner)
    assert mean(loss_of(stage)(inputs_of(batch, learner)), "clip_fraction") > 0
