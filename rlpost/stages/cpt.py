"""Continued pre-training: predicts the next token, for every token of raw text."""

from __future__ import annotations

from rlpost.data.rows import document_rows
from rlpost.recipe.stages import CptStage
from rlpost.stages.context import StageContext
from rlpost.stages.supervised import train_on_rows


def run_cpt(context: StageContext, stage: CptStage) -> None:
    """Train on documents, or on prompt and response as one text."""
    examples = context.data.examples(stage.data, stage=stage.name, use="cpt")
    prepared = document_rows(examples, chat=context.data.format, max_length=context.recipe.model.max_length)
    train_on_rows(context, stage, prepared)
