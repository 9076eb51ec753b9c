"""Maps each kind of stage to the function that runs it. A new kind of stage needs one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlpost.stages.context import StageContext
from rlpost.stages.cpt import run_cpt
from rlpost.stages.dpo import run_dpo
from rlpost.stages.merge import run_merge
from rlpost.stages.reward_model import run_reward_model
from rlpost.stages.rl.loop import run_rl
from rlpost.stages.sft import run_sft
from rlpost.stages.unpaired import run_kto, run_qrpo

Scores = dict[str, float]

RUNNERS: Mapping[str, Callable[[StageContext, Any], Scores | None]] = {
    "cpt": run_cpt,
    "sft": run_sft,
    "dpo": run_dpo,
    "kto": run_kto,
    "qrpo": run_qrpo,
    "reward_model": run_reward_model,
    "grpo": run_rl,
    "ppo": run_rl,
    "merge": run_merge,
}
"""Kind -> function of the context and the stage's section; it returns the scores that the stage measured itself."""


def run_stage(context: StageContext) -> Scores:
    """Make the product of the stage in `context.output_dir`."""
    stage = context.stage
    return RUNNERS[stage.kind](context, stage) or {}
