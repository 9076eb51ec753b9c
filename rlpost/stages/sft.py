"""Supervised fine-tuning: predicts the next token of the assistant's turns only."""

from __future__ import annotations

from rlpost.recipe.stages import SftStage
from rlpost.stages.context import StageContext
from rlpost.stages.filtering import not_worth_learning
from rlpost.stages.supervised import train_on_rows


def run_sft(context: StageContext, stage: SftStage) -> None:
    """Train on demonstrations, or on those that the recipe's verifiers accept."""
    without = frozenset[str]()
    if stage.least_score is not None:
        found = context.data.examples(stage.data, stage=stage.name, train_on=stage.train_on)
        without = not_worth_learning(context, found, count=len(found), least_score=stage.least_score)
    demonstrations = context.data.demonstrations(stage.data, stage=stage.name, train_on=stage.train_on, without=without)
    train_on_rows(context, stage, demonstrations)
