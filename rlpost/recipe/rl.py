"""The parts of a reinforcement learning stage: advantage, loss, divergence from a reference, off-policy correction."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from rlpost.recipe.plugin_reference import FORMS, NamesPlugin, kind_tag, known_or_plugin, own_plugin
from rlpost.recipe.sections import Section

Correction = Literal["none", "truncate", "icepop", "sequence_truncate", "sequence_mask", "geometric_mask"]


class Bounds(NamedTuple):
    """Bounds of an importance ratio; None means no bound on that side."""

    low: float | None
    high: float | None


_PUBLISHED_BOUNDS: dict[Correction, Bounds] = {
    "none": Bounds(None, None),
    # Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training": a cap of 2.
    "truncate": Bounds(None, 2.0),
    # Ring-1T, arXiv 2510.18855, section 3.2: alpha = 0.5, beta = 5.
    "icepop": Bounds(0.5, 5.0),
    # TRL's default for both sequence forms.
    "sequence_truncate": Bounds(None, 3.0),
    "sequence_mask": Bounds(None, 3.0),
    # SkyRL's recommendation after 1,500 steps of comparison.
    "geometric_mask": Bounds(0.99, 1.01),
}


SCHEMES = ("grpo", "dr_grpo", "leave_one_out", "reinforce_plus_plus", "reinforce_plus_plus_baseline")
"""The advantages that come with rlpost."""


def _scheme(text: str) -> str:
    return known_or_plugin(text, noun="advantage", known=SCHEMES)


class AdvantageConfig(Section):
    """How scores become advantages."""

    scheme: Annotated[str, AfterValidator(_scheme), NamesPlugin()] = "grpo"
    """`grpo`, `dr_grpo`, `leave_one_out`, `reinforce_plus_plus`, `reinforce_plus_plus_baseline`, or a function of your
    own: `module:name` or `path/to/file.py:name` (`docs/write-an-algorithm.md`)."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters that are passed to a function of your own."""
    parts: dict[str, float] = Field(default_factory=dict)
    """Name of a part of the verdicts -> weight: the score is the weighted sum. By default the verdict's own score is
    used."""
    combine: Literal["sum_then_normalise", "normalise_then_sum"] = "sum_then_normalise"
    """Whether the scheme gets the sum of the parts, or each part is first normalised within its group (GDPO)."""

    @model_validator(mode="after")
    def _parts_to_combine(self) -> AdvantageConfig:
        if self.combine == "normalise_then_sum" and not self.parts:
            raise ValueError("normalise_then_sum needs `parts`: the names of the verdict's parts and their weights")
        if self.params and self.scheme in SCHEMES:
            raise ValueError(f"`params` belong to an advantage of your own; {self.scheme} takes none: remove them")
        return self


class _LossConfig(Section):
    """The settings that all policy gradient surrogates share."""

    normalisation: Literal["token", "sequence", "sequence_sum", "constant"] = "token"
    """`token`: one global mean over tokens. `sequence`: the mean of per-sequence means. `sequence_sum`: the mean of
    per-sequence sums. `constant`: the sum over batch size x max_tokens."""


class _GivenLossConfig(_LossConfig):
    """A surrogate that comes with rlpost: a token without advantage has no gradient."""

    @property
    def learns_without_advantage(self) -> bool:
        """Whether a token whose advantage is 0 may have a gradient."""
        return False


class PpoClipConfig(_GivenLossConfig):
    """PPO's surrogate: the ratio of each token is clipped."""

    kind: Literal["ppo_clip"] = "ppo_clip"
    clip_low: float = Field(default=0.2, gt=0)
    """The ratio may fall to 1 - clip_low."""
    clip_high: float = Field(default=0.2, gt=0)
    """The ratio may rise to 1 + clip_high."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Cap on the ratio if the advantage is negative."""


class GspoConfig(_GivenLossConfig):
    """GSPO's surrogate: the ratio of each response is clipped. The defaults are the paper's (arXiv 2507.18071)."""

    kind: Literal["gspo"]
    clip_low: float = Field(default=3e-4, gt=0)
    """The ratio may fall to 1 - clip_low."""
    clip_high: float = Field(default=4e-4, gt=0)
    """The ratio may rise to 1 + clip_high."""
    normalisation: Literal["token", "sequence", "sequence_sum", "constant"] = "sequence"
    """`token`: one global mean over tokens. `sequence`: the mean of per-sequence means. `sequence_sum`: the mean of
    per-sequence sums. `constant`: the sum over batch size x max_tokens."""


class CispoConfig(_GivenLossConfig):
    """CISPO's surrogate: each token is weighted by its capped ratio, which has no gradient."""

    kind: Literal["cispo"]
    cap: float = Field(default=5.0, gt=0)
    """Cap on the ratio (ScaleRL, arXiv 2510.13786)."""


class PluginLossConfig(_LossConfig):
    """A surrogate of your own (`docs/write-an-algorithm.md`)."""

    kind: Annotated[str, AfterValidator(own_plugin), NamesPlugin()]
    """`module:name` or `path/to/file.py:name`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters that are passed to the surrogate."""

    @property
    def learns_without_advantage(self) -> bool:
        """Whether a token with advantage 0 may have a gradient; for a user's function this must be assumed."""
        return True


PolicyLossConfig = Annotated[
    Annotated[PpoClipConfig, Tag("ppo_clip")]
    | Annotated[GspoConfig, Tag("gspo")]
    | Annotated[CispoConfig, Tag("cispo")]
    | Annotated[PluginLossConfig, Tag(FORMS)],
    Discriminator(kind_tag(PpoClipConfig.model_fields["kind"].default)),
]
"""The policy gradient surrogate; its settings depend on its kind."""


class KlConfig(Section):
    """Penalty for leaving the reference model, which is the stage's start."""

    coefficient: float = Field(default=0.0, ge=0)
    """Coefficient of the penalty; with 0, no reference model is needed."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimate of the divergence at each token; k1 only with `place: reward`, because its gradient has mean 0."""
    place: Literal["loss", "reward"] = "loss"
    refresh_every: int | None = Field(default=None, ge=1)
    """Number of steps after which the reference moves towards the policy; by default it stays fixed."""
    refresh_mix: float = Field(default=1.0, gt=0, le=1)
    """Share of the policy in the refreshed reference."""


class OffPolicyConfig(Section):
    """Learning from tokens of another policy: decoupled PPO (AReaL, arXiv 2505.24298, equation 5) and its weights.

    The policy that sampled is another one if its weights are older, and also at `max_staleness: 0`, because the engine
    rounds otherwise than the learner.
    """

    proximal: Literal["behaviour", "recompute", "log_linear"] = "recompute"
    """The policy that the clip is centred on: `recompute`, the learner's own before this step's first update (costs a
    forward pass, and nothing where a step has one update); `log_linear`, an estimate of it; or `behaviour`, the policy
    that sampled, by the engine's numbers, where rounding is clipped as if it were a change of the policy."""
    correction: Correction = "truncate"
    """Treatment of the ratio proximal / behaviour: capped or masked, per token, sequence, or sequence mean."""
    low: float | None = Field(default=None, gt=0)
    """Lower bound; by default the published bound of the correction."""
    high: float | None = Field(default=None, gt=0)
    """Upper bound; by default the published bound of the correction."""

    def bounds(self) -> Bounds:
        """Return the bounds in force: as written, otherwise as published."""
        published = _PUBLISHED_BOUNDS[self.correction]
        return Bounds(
            published.low if self.low is None else self.low, published.high if self.high is None else self.high
        )


class DynamicSamplingConfig(Section):
    """Drops groups whose scores are all equal, which train nothing, and samples others (DAPO, section 3.2)."""

    max_refill: float = Field(default=10.0, gt=0)
    """Most groups that are dropped for one step, in multiples of prompts_per_step; later ones are used as they are."""


class OverlongConfig(Section):
    """Soft punishment of long responses (DAPO, arXiv 2503.14476, equation 13)."""

    buffer_ratio: float = Field(default=0.2, gt=0, le=1)
    """The last share of max_tokens, over which the punishment rises from 0."""
    factor: float = Field(default=1.0, gt=0)
    """Amount that is subtracted from the score at max_tokens."""


class ValueConfig(Section):
    """The critic of PPO: a language model's body with one output per token."""

    start: str = "policy"
    """`policy`, the name of a reward_model stage of this recipe, or the directory of a sequence classifier."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Learning rate; by default the policy's. Both follow the same schedule."""
    clip: float = Field(default=0.2, gt=0)
    coefficient: float = Field(default=0.1, gt=0)


class GaeConfig(Section):
    """Generalised advantage estimation (arXiv 1506.02438, equation 16)."""

    discount: float = Field(default=1.0, gt=0, le=1)
    trace_decay: float = Field(default=0.95, ge=0, le=1)
    """The paper's lambda."""
    whiten: bool = True
    """Whether to give the advantages of a step mean 0 and variance 1 over its tokens."""
