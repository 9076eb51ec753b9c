"""TRL's own rewards as verifiers, importable by worker processes."""

from __future__ import annotations

from collections.abc import Sequence

from trl.rewards import accuracy_reward, get_soft_overlong_punishment, think_format_reward

from rlpost.scoring.authoring import Case
from rlpost.workbench.adapters import from_trl

HERE = __name__

accuracy = from_trl(
    accuracy_reward,
    name="trl.accuracy",
    version="1",
    reference=f"{HERE}:accuracy",
    columns={"solution": "gold"},
    cases=(Case(response=r"\boxed{2}", gold="$2$", expect="accept"),),
)
think = from_trl(think_format_reward, name="trl.think", version="1", reference=f"{HERE}:think", isolation="inline")
overlong = from_trl(
    get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20),
    name="trl.overlong",
    version="1",
    reference=f"{HERE}:overlong",
    isolation="inline",
    score_range=(-1.0, 0.0),
)


def plain_texts(prompts: Sequence[str], completions: Sequence[str], topic: Sequence[str | None], **kwargs: object):
    return [float(f"{prompt}/{text}" == place) for prompt, text, place in zip(prompts, completions, topic, strict=True)]


async def waiting(prompts: Sequence[str], completions: Sequence[str], **kwargs: object) -> list[float]:
    return [1.0 for _ in completions]


texts = from_trl(
    plain_texts,
    name="mine.texts",
    version="1",
    reference=f"{HERE}:texts",
    isolation="inline",
    conversational=False,
    columns={"topic": "topic"},
)
async_texts = from_trl(waiting, name="mine.waiting", version="1", reference=f"{HERE}:async_texts", isolation="remote")
