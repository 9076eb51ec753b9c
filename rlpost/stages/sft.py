"""Supervised fine-tuning: predicts the next token of the assistant's turns only."""

from __future__ import annotations

from rlpost.data.rows import demonstration_rows
from rlpost.recipe.stages import SftStage
from rlpost.stages.context import StageContext
from rlpost.stages.filtering import worth_learning
from rlpost.stages.supervised import train_on_rows


def run_sft(context: StageContext, stage: SftStage) -> None:
    """Train on demonstrations, or on those that the recipe's verifiers accept."""
    examples = context.data.examples(stage.data, stage=stage.name, use="sft")
    if stage.least_score is not None:
        examples = worth_learning(context, examples, least_score=stage.least_score)
    prepared = demonstration_rows(
        examples,
        chat=context.data.format,
        max_length=context.recipe.model.max_length,
        train_on=stage.train_on,
    )
    train_on_rows(context, stage, prepared)
