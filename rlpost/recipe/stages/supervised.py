"""Stages that pass over the rows of data sets: continued pre-training and supervised fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from rlpost.recipe.columns import Use
from rlpost.recipe.number_words import passes
from rlpost.recipe.sections import PerStep, Steps
from rlpost.recipe.stages.stage import TrainedStage, TrainedTurns


class SupervisedStage(TrainedStage):
    """A stage that passes over the rows of a data set for a number of `steps` or `epochs`."""

    rows_per_step: PerStep
    steps: Steps | None = None
    epochs: float | None = Field(default=None, gt=0, le=10_000)
    max_length: int | None = Field(default=None, ge=8)
    """Most tokens of a row in this stage; by default model.max_length, which it may not exceed."""

    @model_validator(mode="after")
    def _one_length(self) -> SupervisedStage:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"stage {self.name} needs exactly one of `steps` and `epochs`")
        return self

    @property
    def own_max_length(self) -> int | None:
        """See `TrainedStage`."""
        return self.max_length

    @property
    def rows_per_optimizer_step(self) -> int:
        """See `TrainedStage`."""
        return self.rows_per_step

    def step_count(self, row_count: int) -> int:
        """Return the number of optimizer steps of the whole stage."""
        if self.steps is not None:
            return self.steps
        return math.ceil(self._rows_in_all(row_count) / self.rows_per_step)

    def rows_of_step(self, step: int, *, row_count: int) -> int:
        """Return the number of rows of a step, counted from 0. With `epochs`, every row comes as often as it says, so
        the last step may have fewer than `rows_per_step`.
        """
        if self.steps is not None:
            return self.rows_per_step
        return min(self.rows_per_step, self._rows_in_all(row_count) - step * self.rows_per_step)

    def _rows_in_all(self, row_count: int) -> int:
        assert self.epochs is not None
        return max(1, round(self.epochs * row_count))

    def rows_trained_on(self, data_rows: int | None) -> int | None:
        """Return the largest number of rows or pairs to pass over; None if it depends on the data."""
        return data_rows if self.sampler.keeps_row_count else None

    def optimizer_steps(self, data_rows: int | None) -> int | None:
        """See `TrainedStage`."""
        rows = self.rows_trained_on(data_rows)
        return self.steps if rows is None else self.step_count(rows)

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        unit, rows = f"{self.row_word}s", self.rows_trained_on(data_rows)
        if self.steps is not None:
            seen = self.steps * self.rows_per_step
            text = f"{self.steps:,} steps x {self.rows_per_step:,} {unit} = {seen:,} {unit}"
            yield text + (f", {passes(seen / rows)} over at most {rows:,}" if rows else "")
            return
        assert self.epochs is not None
        if rows is None:
            data = ", ".join(self.data)
            yield f"{passes(self.epochs)} over all {unit} of {data}, {self.rows_per_step:,} {unit} a step"
        else:
            steps = self.step_count(rows)
            last = self.rows_of_step(steps - 1, row_count=rows)
            text = (
                f"{passes(self.epochs)} over at most {rows:,} {unit} = {steps:,} steps x {self.rows_per_step:,} {unit}"
            )
            yield text + (f", the last with {last:,}" if last < self.rows_per_step else "")


class CrossEntropyStage(SupervisedStage):
    """A stage that predicts the next token of its rows."""

    normalisation: Literal["token", "sequence", "sequence_sum"] = "token"
    """How the losses of single tokens become one number: their mean over the step (`token`); the mean over rows of each
    row's mean (`sequence`); or the mean over rows of each row's sum (`sequence_sum`), which is TULU 3's published sum
    loss with one row a device (docs/objectives.md)."""


class CptStage(CrossEntropyStage):
    """Continued pre-training: predicts the next token of raw documents, or of prompt and response as one text."""

    kind: Literal["cpt"]
    dropout: bool = True

    @property
    def data_use(self) -> Use:
        """See `Stage`."""
        return "cpt"


class SftStage(CrossEntropyStage):
    """Supervised fine-tuning: the next token on the assistant's turns only."""

    kind: Literal["sft"]
    dropout: bool = True
    train_on: TrainedTurns = "all"
    """Which of the assistant's turns of a conversation are trained; a turn with `train` or `weight` says so itself."""
    least_score: float | None = None
    """Demonstrations that the recipe's verifiers score below this are left out."""

    @property
    def data_use(self) -> Use:
        """See `Stage`."""
        return "sft"

    @property
    def trained_turns(self) -> TrainedTurns:
        """See `Stage`."""
        return self.train_on

    @property
    def judges(self) -> bool:
        """See `Stage`."""
        return self.least_score is not None
