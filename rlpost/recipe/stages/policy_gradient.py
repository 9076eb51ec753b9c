"""The reinforcement learning stages: GRPO and PPO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from rlpost.recipe.problems import Problem
from rlpost.recipe.rl import AdvantageConfig, DynamicSamplingConfig, GaeConfig, ValueConfig
from rlpost.recipe.sections import MOST_PER_STEP
from rlpost.recipe.stages.rl import RlStage
from rlpost.recipe.stages.rl_words import critic_line, params_words, rl_lines
from rlpost.recipe.stages.stage import Parent, Product

OWN_START = "policy"
"""Value of `value.start` for a critic that starts from the policy's own start."""


class GrpoStage(RlStage):
    """Reinforcement learning with verifiable rewards, with a baseline from each prompt's own samples."""

    kind: Literal["grpo"]
    samples_per_prompt: int = Field(ge=2, le=MOST_PER_STEP)
    advantage: AdvantageConfig = AdvantageConfig()
    dynamic_sampling: DynamicSamplingConfig | None = None

    @property
    def group_advantage(self) -> AdvantageConfig:
        """See `RlStage`."""
        return self.advantage

    @property
    def refill(self) -> DynamicSamplingConfig | None:
        """See `RlStage`."""
        return self.dynamic_sampling

    @property
    def score_parts(self) -> Mapping[str, float]:
        """See `Stage`."""
        return self.advantage.parts

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        credit = f"{self.advantage.scheme}{params_words(self.advantage.params)}"
        yield from rl_lines(self, credit=credit, critic=None)
        if self.dynamic_sampling is not None:
            most = round(self.dynamic_sampling.max_refill * self.prompts_per_step)
            yield f"groups without signal are left out and replaced, at most {most:,} a step"


class PpoStage(RlStage):
    """Proximal policy optimisation with a critic (arXiv 1707.06347; TULU 3's RLVR, arXiv 2411.15124, section 6)."""

    kind: Literal["ppo"]
    gae: GaeConfig = GaeConfig()
    value: ValueConfig = ValueConfig()

    @property
    def critic(self) -> ValueConfig:
        """See `TrainedStage`."""
        return self.value

    @property
    def critic_advantage(self) -> GaeConfig:
        """See `RlStage`."""
        return self.gae

    @property
    def fills_columns(self) -> frozenset[str]:
        """See `RlStage`; the critic adds two."""
        return super().fills_columns | {"returns_T", "old_values_T"}

    @property
    def parents(self) -> tuple[Parent, ...]:
        """See `Stage`."""
        if self.value.start == OWN_START:
            return super().parents
        scorer = Parent(("value", "start"), role="critic", name=self.value.start, accepts=frozenset({"reward_model"}))
        return (*super().parents, scorer)

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """See `Stage`."""
        if self.value.start == OWN_START and earlier.get(OWN_START) == "reward_model":
            text = "`policy` means the policy's own start: give the reward model another name"
            yield Problem(path=("value", "start"), text=text)
        yield from super().contradictions(earlier=earlier, deterministic=deterministic)

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        rate = self.value.learning_rate or self.optimizer.learning_rate
        yield from rl_lines(self, credit="gae", critic=critic_line(self.value, self.gae, learning_rate=rate))
