"""Keys and facts that the reinforcement learning stages share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from rlpost.recipe.columns import Use
from rlpost.recipe.presets import with_preset
from rlpost.recipe.problems import Problem
from rlpost.recipe.rl import (
    AdvantageConfig,
    DynamicSamplingConfig,
    GaeConfig,
    KlConfig,
    OffPolicyConfig,
    OverlongConfig,
    PolicyLossConfig,
    PpoClipConfig,
)
from rlpost.recipe.sections import PerStep, SamplingConfig, Steps
from rlpost.recipe.stages.stage import Product, SampledResponses, SentAdapter, TrainedStage


class RlStage(TrainedStage):
    """Keys and facts that GRPO and PPO share."""

    rows_key: ClassVar[str] = "prompts_per_step"
    keeps_ledger: ClassVar[bool] = True
    scores_rows: ClassVar[bool] = True
    # The name of a preset has no effect beyond the keys that it stands for.
    without_effect: ClassVar[Mapping[str, Any]] = {**TrainedStage.without_effect, "algorithm": True}

    algorithm: str | None = None
    """A named preset (`rlpost/recipe/presets/`); keys that the recipe writes take precedence."""
    steps: Steps
    prompts_per_step: PerStep
    samples_per_prompt: PerStep
    sampling: SamplingConfig
    loss: PolicyLossConfig = PpoClipConfig()
    kl: KlConfig = KlConfig()
    off_policy: OffPolicyConfig = OffPolicyConfig()
    minibatches: PerStep = 1
    """Number of optimizer steps into which one pass over a batch of rollouts is split."""
    epochs: int = Field(default=1, ge=1, le=10_000)
    """Number of passes over a batch of rollouts; each after the first joins the groups to other mini-batches."""
    reward_scale: float = Field(default=1.0, gt=0)
    """Factor for scores before advantages are computed (TULU 3's alpha); has no effect under group standardisation."""
    overlong: OverlongConfig | None = None
    mask_truncated: bool = False
    """Whether responses cut off at max_tokens are left out of the loss; they still count in their group's baseline."""
    truncated_score: float | None = None
    """Score of a response that was cut off, whatever it says (TULU 3: -10); by default the verifier's score."""
    max_staleness: int = Field(default=0, ge=0)
    """Largest age of weights, in versions behind the learner, that a trained token may come from. 0 is synchronous; 1
    samples one step ahead; more lets long responses continue while others are trained on.
    """
    kv_cache_on_update: Literal["recompute", "keep"] = "recompute"
    """Treatment of the KV cache of responses in flight when new weights arrive: recomputed with the new weights, or
    kept, which is faster but leaves a small bias.
    """
    parity_tolerance: float | None = Field(default=None, gt=0)
    """Largest accepted difference between the log-probabilities of generator and learner, as a share of their size, in
    the median over the responses that the canary compares; by default 1e-3 in float32 and 0.1 in bfloat16.
    """

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
    def fills_columns(self) -> frozenset[str]:
        """The columns of a batch (`train_records`) that the stage fills in for a loss that reads them."""
        always = frozenset({"advantages_T", "behaviour_logprobs_T", "proximal_logprobs_T", "proximal_mix_T"})
        return always | {"reference_logprobs_T"} if self.keeps_reference else always

    @property
    def data_use(self) -> Use:
        """See `Stage`."""
        return "judging"

    @property
    def judges(self) -> bool:
        """See `Stage`."""
        return True

    @property
    def samples_responses(self) -> SampledResponses:
        """See `Stage`."""
        return SampledResponses(("sampling",), self.sampling)

    @property
    def rows_per_optimizer_step(self) -> int:
        """See `TrainedStage`."""
        return self.prompts_per_step * self.samples_per_prompt // self.minibatches

    @property
    def optimizer_steps_per_batch(self) -> int:
        """Number of optimizer steps on one batch of rollouts."""
        return self.minibatches * self.epochs

    def optimizer_steps(self, data_rows: int | None) -> int:
        """See `TrainedStage`."""
        return self.steps * self.optimizer_steps_per_batch

    @property
    def keeps_reference(self) -> bool:
        """See `TrainedStage`."""
        return self.kl.coefficient > 0

    @property
    def group_advantage(self) -> AdvantageConfig | None:
        """The computation of advantages from the scores of a group; None if a critic is used instead."""
        return None

    @property
    def critic_advantage(self) -> GaeConfig | None:
        """The computation of advantages from a critic's values; None if there is no critic."""
        return None

    @property
    def refill(self) -> DynamicSamplingConfig | None:
        """The replacement of groups without signal; None if they are kept."""
        return None

    @property
    def publishes_weights(self) -> bool:
        """See `TrainedStage`."""
        return True

    @property
    def sends_adapter(self) -> SentAdapter | None:
        """See `Stage`.

        A response keeps the adapter that it began with. The number of versions in use is therefore the largest age of a
        token plus two: the version that the learner has just left, and the one that arrives.
        """
        if self.lora is None or self.lora.sync != "adapter":
            return None
        return SentAdapter(rank=self.lora.rank, versions=self.max_staleness + 2)

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """See `Stage`."""
        yield from super().contradictions(earlier=earlier, deterministic=deterministic)
        if self.prompts_per_step % self.minibatches != 0:
            yield Problem(
                path=("minibatches",),
                text=f"must divide prompts_per_step ({self.prompts_per_step}), found {self.minibatches}",
            )
        yield from self._staleness_contradictions(deterministic=deterministic)
        yield from self._reference_contradictions()
        yield from self._off_policy_contradictions()
        if self.mask_truncated and self.truncated_score is not None:
            yield Problem(
                path=("mask_truncated",),
                text="leaves truncated responses out of the loss, but truncated_score exists to train on them: set "
                "mask_truncated: false or truncated_score: null",
            )

    def _staleness_contradictions(self, *, deterministic: bool) -> Iterator[Problem]:
        if self.max_staleness > 0 and deterministic:
            yield Problem(
                path=("max_staleness",),
                text=f"must be 0 with deterministic: true, found {self.max_staleness}: where sampling overlaps "
                "training, the clock decides which weights sample which token; set deterministic: false, or "
                "max_staleness: 0",
            )
        if self.max_staleness == 0 and self.kv_cache_on_update == "keep":
            yield Problem(
                path=("kv_cache_on_update",),
                text="`keep` needs max_staleness above 0: with 0 no response is in flight when new weights arrive",
            )

    def _off_policy_contradictions(self) -> Iterator[Problem]:
        config = self.off_policy
        low, high = config.bounds()
        if low is not None and high is not None and low >= high:
            yield Problem(
                path=("off_policy", "low" if config.low is not None else "high"),
                text=f"the lower bound must be below the upper one; found low {low:g} and high {high:g}",
            )
        if config.proximal != "behaviour" or config.correction == "none":
            return
        for key in sorted(config.model_fields_set & {"correction", "low", "high"}):
            yield Problem(
                path=("off_policy", key),
                text="has no effect with `proximal: behaviour`, which leaves nothing to correct: set proximal: "
                "recompute or correction: none",
            )

    def _reference_contradictions(self) -> Iterator[Problem]:
        if self.kl.coefficient > 0 and (self.kl.estimator, self.kl.place) == ("k1", "loss"):
            yield Problem(
                path=("kl", "estimator"),
                text="the gradient of k1 in the loss has mean 0, so the penalty holds nothing back: set k2, whose "
                "gradient is that of the divergence, or k3, or place: reward",
            )
        if self.kl.refresh_every is None:
            return
        where = ("kl", "refresh_every")
        if self.kl.coefficient == 0:
            yield Problem(
                path=where, text="refreshes a reference that nothing uses: set kl.coefficient above 0, or remove it"
            )
        if self.lora is not None:
            yield Problem(
                path=where,
                text="a refreshed reference needs a copy of its own, and with lora the reference is the model without "
                "its adapter: remove kl.refresh_every or lora",
            )
