"""The stages of a recipe: one class a kind, chosen by `kind:`; its name fixes the vetted defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rlpost.recipe.sections import (
    LearnerConfig,
    LoraConfig,
    Name,
    OptimizerConfig,
    SamplingConfig,
    Section,
)

Requirement = Annotated[str, Field(pattern=r"^\s*(>=|>|<=|<)\s*-?\d+(\.\d+)?\s*$")]


class Stage(Section):
    """What all stages have."""

    name: Name
    data: list[Name] = Field(default=[], description="names of data sets, their rows mixed")
    optimizer: OptimizerConfig
    learner: LearnerConfig = LearnerConfig()
    lora: LoraConfig | None = None
    require: dict[str, Requirement] = Field(default_factory=dict)
    """Score -> bound, for example `pass@1: ">= 0.3"`; checked on the held-out evaluation after the stage."""


class SupervisedStage(Stage):
    """A stage that passes over rows of a data set: give `steps` or `epochs`."""

    data: list[Name] = Field(min_length=1)
    rows_per_step: int = Field(ge=1)
    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0, le=10_000)

    @model_validator(mode="after")
    def _one_length(self) -> SupervisedStage:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"stage {self.name} needs exactly one of `steps` and `epochs`")
        return self

    def step_count(self, row_count: int) -> int:
        """Optimizer steps of the whole stage."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * row_count / self.rows_per_step))


class CptStage(SupervisedStage):
    """Continued pre-training: the next token on raw documents, or on prompt and response as one text."""

    kind: Literal["cpt"]


class SftStage(SupervisedStage):
    """Supervised fine-tuning: the next token on responses only, one global mean over tokens."""

    kind: Literal["sft"]


class OwnSamplesConfig(Section):
    """Preference pairs from the model's own answers, judged by the recipe's verifiers (TULU 3, section 5)."""

    samples_per_prompt: int = Field(ge=2)
    sampling: SamplingConfig
    prompts: int | None = Field(default=None, ge=1)
    """Prompts to answer; by default all rows of the stage's data."""
    pairs_per_prompt: int = Field(default=1, ge=1)


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


class AdvantageConfig(Section):
    """Scores of a group -> advantages."""

    scheme: Literal["grpo", "dr_grpo", "leave_one_out"] = "grpo"


class PolicyLossConfig(Section):
    """PPO's clipped surrogate, token by token."""

    clip_low: float = Field(default=0.2, gt=0)
    clip_high: float = Field(default=0.2, gt=0)
    normalisation: Literal["token", "sequence", "constant"] = "token"
    """One global mean over tokens, the mean of per-sequence means, or the sum over batch size x max_tokens."""
    kl_coefficient: float = Field(default=0.0, ge=0)
    """Of the k3 estimate against the frozen reference, in the loss; 0 needs no reference model."""


class GrpoStage(Stage):
    """Reinforcement learning with verifiable rewards."""

    kind: Literal["grpo"]
    data: list[Name] = Field(min_length=1)
    steps: int = Field(ge=1)
    prompts_per_step: int = Field(ge=1)
    samples_per_prompt: int = Field(ge=2)
    sampling: SamplingConfig
    advantage: AdvantageConfig = AdvantageConfig()
    loss: PolicyLossConfig = PolicyLossConfig()
    minibatches: int = Field(default=1, ge=1)
    """Optimizer steps that one batch of rollouts is split into."""
    reward_scale: float = Field(default=1.0, gt=0)
    """Scores are multiplied by this before advantages (TULU 3's alpha); no effect under group standardisation."""
    max_staleness: Literal[0] = 0
    """Oldest weights, in versions behind the learner, that a trained token may come from."""
    parity_tolerance: float | None = Field(default=None, gt=0)
    """Largest |log-probability| difference between generator and learner that the canary lets pass; by default 1e-3 in
    float32 and 0.5 in bfloat16."""

    @field_validator("sampling")
    @classmethod
    def _must_explore(cls, sampling: SamplingConfig) -> SamplingConfig:
        if sampling.temperature == 0:
            raise ValueError("GRPO needs a temperature above 0: equal samples give no advantage")
        if sampling.top_p != 1 or sampling.top_k != 0:
            raise ValueError("GRPO samples from the whole distribution: leave top_p at 1 and top_k at 0")
        return sampling


AnyStage = Annotated[CptStage | SftStage | DpoStage | GrpoStage, Field(discriminator="kind")]


class ExtraMetadata(Section):
    """Free notes of the recipe's author."""

    description: str = ""
    sources: dict[str, Any] = Field(default_factory=dict)
