"""Stages that pass over the rows of data sets: continued pre-training and supervised fine-tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rlpost.recipe.sections import Name, PerStep, Steps
from rlpost.recipe.stages.stage import Stage


class SupervisedStage(Stage):
    """A stage that passes over rows of a data set: give `steps` or `epochs`."""

    data: list[Name] = Field(min_length=1)
    rows_per_step: PerStep
    steps: Steps | None = None
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
    least_score: float | None = None
    """Demonstrations that the recipe's verifiers score below this are left out."""
