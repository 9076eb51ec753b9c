"""Supervised fine-tuning: the next token on responses only."""

from __future__ import annotations

from rlpost.data.rows import demonstration_rows
from rlpost.recipe.stages import SftStage
from rlpost.stages.context import StageContext
from rlpost.stages.supervised import train_on_rows


def run_sft(context: StageContext, stage: SftStage) -> None:
    """Train on demonstrations."""
    examples = context.data.examples(stage.data, stage=stage.name, use="sft")
    prepared = demonstration_rows(examples, chat=context.data.format, max_length=context.recipe.model.max_length)
    train_on_rows(context, stage, prepared)
