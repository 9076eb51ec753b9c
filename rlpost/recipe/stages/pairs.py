"""Stages that learn from preference pairs: DPO and reward models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlpost.recipe.sections import MOST_PER_STEP, PerStep, SamplingConfig, Section
from rlpost.recipe.stages.supervised import SupervisedStage


class OwnSamplesConfig(Section):
    """Preference pairs from the model's own answers, judged by the recipe's verifiers (TULU 3, section 5)."""

    samples_per_prompt: int = Field(ge=2, le=MOST_PER_STEP)
    sampling: SamplingConfig
    prompts: int | None = Field(default=None, ge=1)
    """Prompts to answer; by default all rows of the stage's data."""
    pairs_per_prompt: PerStep = 1


class DpoStage(SupervisedStage):
    """Direct preference optimisation against the stage's own start as the frozen reference.

    `rows_per_step` counts pairs.
    """

    kind: Literal["dpo"]
    beta: float = Field(gt=0)
    loss: Literal["sigmoid", "sigmoid_norm"] = "sigmoid_norm"
    """Plain DPO, or length-normalised (TULU 3, equation 6)."""
    own_samples: OwnSamplesConfig | None = None
    """By default the rows hold `response` and `rejected`."""


class RewardModelStage(SupervisedStage):
    """A scorer of responses, learnt from preference pairs (Bradley-Terry); a side artifact, not the next policy.

    `rows_per_step` counts pairs. The stage after it goes on from the language model before it.
    """

    kind: Literal["reward_model"]
    own_samples: OwnSamplesConfig | None = None
    """By default the rows hold `response` and `rejected`."""
