"""The prompts of a workload in the order in which a run issues them, also for TRL and for the parts alone."""

from __future__ import annotations

from pathlib import Path

from workloads import GROUPS_PER_STEP

from rlpost.data.chat import ChatFormat
from rlpost.data.samplers.shuffled import ShuffledEpochs
from rlpost.data.sources import open_examples
from rlpost.data.tables.cache import DataCache
from rlpost.recipe.sections import DataConfig
from rlpost.records import Prompt


def issued_prompts(place: Path, chat: ChatFormat, *, steps: int, seed: int) -> list[Prompt]:
    """Return the prompts of the first steps, 8 per step."""
    source = DataConfig(source=f"jsonl:{place / 'prompts.jsonl'}")
    examples = open_examples("prompts", source, cache=DataCache(place / "cache"))
    rows = ShuffledEpochs(len(examples), seed=[seed]).at(0, count=steps * GROUPS_PER_STEP)
    chosen = [examples[row] for row in rows]
    return [
        Prompt(
            id=example.id,
            dataset=example.dataset,
            messages=example.messages,
            token_ids=token_ids,
            gold=example.gold,
            meta=example.meta,
        )
        for example, token_ids in zip(chosen, chat.render_prompts(chosen), strict=True)
    ]
