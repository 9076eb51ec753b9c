"""Continued pre-training: predicts the next token, for every token of raw text."""

from __future__ import annotations

from rlpost.recipe.stages import CptStage
from rlpost.stages.context import StageContext
from rlpost.stages.supervised import train_on_rows


def run_cpt(context: StageContext, stage: CptStage) -> None:
    """Train on documents, or on prompt and response as one text."""
    train_on_rows(context, stage, context.data.documents(stage.data, stage=stage.name))
