"""Reinforcement learning stages: GRPO and PPO."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from rlpost.recipe.presets import with_preset
from rlpost.recipe.rl import (
    AdvantageConfig,
    DynamicSamplingConfig,
    GaeConfig,
    KlConfig,
    OffPolicyConfig,
    OverlongConfig,
    PolicyLossConfig,
    PpoClipConfig,
    ValueConfig,
)
from rlpost.recipe.sections import MOST_PER_STEP, Name, PerStep, SamplingConfig, Steps
from rlpost.recipe.stages.stage import Stage


class RlStage(Stage):
    """What GRPO and PPO share."""

    algorithm: str | None = None
    """A named preset (`rlpost/recipe/presets/`); keys that are written beside it win."""
    data: list[Name] = Field(min_length=1)
    steps: Steps
    prompts_per_step: PerStep
    samples_per_prompt: PerStep
    sampling: SamplingConfig
    loss: PolicyLossConfig = PpoClipConfig()
    kl: KlConfig = KlConfig()
    off_policy: OffPolicyConfig = OffPolicyConfig()
    minibatches: PerStep = 1
    """Optimizer steps that one pass over a batch of rollouts is split into."""
    epochs: int = Field(default=1, ge=1, le=10_000)
    """Passes over a batch of rollouts."""
    reward_scale: float = Field(default=1.0, gt=0)
    """Scores are multiplied by this before advantages (TULU 3's alpha); no effect under group standardisation."""
    overlong: OverlongConfig | None = None
    mask_truncated: bool = False
    """Leave responses that were cut off at max_tokens out of the loss; they stay in their group's baseline."""
    truncated_score: float | None = None
    """Score of a response that was cut off, whatever it says (TULU 3: -10); by default the verifier's."""
    max_staleness: int = Field(default=0, ge=0)
    """Oldest weights, in versions behind the learner, that a trained token may come from. 0 is synchronous, 1 samples
    one step ahead, more lets long responses run on while others are trained on."""
    kv_cache_on_update: Literal["recompute", "keep"] = "recompute"
    """What becomes of the KV cache of responses in flight when new weights arrive: computed again with the new
    weights, or kept as it is, which is faster and leaves a small bias."""
    parity_tolerance: float | None = Field(default=None, gt=0)
    """How far log-probabilities of generator and learner may be apart, as a share of their size in the median of the
    responses that the canary compares; by default 1e-3 in float32 and 0.1 in bfloat16."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, written: Any) -> Any:
        return with_preset(written)

    @field_validator("sampling")
    @classmethod
    def _must_explore(cls, sampling: SamplingConfig) -> SamplingConfig:
        if sampling.temperature == 0:
            raise ValueError("RL needs a temperature above 0: equal samples give no advantage")
        if sampling.top_p != 1 or sampling.top_k != 0:
            raise ValueError("RL samples from the whole distribution: leave top_p at 1 and top_k at 0")
        return sampling

    @property
    def proximal(self) -> Literal["behaviour", "recompute", "log_linear"]:
        """The policy that the clip is centred on, the default resolved."""
        return self.off_policy.proximal or ("behaviour" if self.max_staleness == 0 else "recompute")


class GrpoStage(RlStage):
    """Reinforcement learning with verifiable rewards, the baseline taken from each prompt's own samples."""

    kind: Literal["grpo"]
    samples_per_prompt: int = Field(ge=2, le=MOST_PER_STEP)
    advantage: AdvantageConfig = AdvantageConfig()
    dynamic_sampling: DynamicSamplingConfig | None = None


class PpoStage(RlStage):
    """Proximal policy optimisation with a critic (arXiv 1707.06347; TULU 3's RLVR, arXiv 2411.15124, section 6)."""

    kind: Literal["ppo"]
    gae: GaeConfig = GaeConfig()
    value: ValueConfig = ValueConfig()
