"""The prompts of a workload in the order in which a run issues them, also for TRL and for the parts alone."""

from __future__ import annotations

from pathlib import Path

from workloads import GROUPS_PER_STEP

from rlpost.data.chat import ChatFormat
from rlpost.data.rows import prompts_of
from rlpost.data.samplers.shuffled import ShuffledEpochs
from rlpost.data.sources import load_examples
from rlpost.recipe.sections import DataConfig
from rlpost.records import Prompt


def issued_prompts(place: Path, chat: ChatFormat, *, steps: int, seed: int) -> list[Prompt]:
    """Return the prompts of the first steps, 8 per step."""
    examples = load_examples("prompts", DataConfig(source=f"jsonl:{place / 'prompts.jsonl'}"))
    rows = ShuffledEpochs(len(examples), seed=[seed]).at(0, count=steps * GROUPS_PER_STEP)
    chosen = [examples[row] for row in rows]
    return prompts_of(chosen, chat=chat, max_length=2**20, max_tokens=1)
