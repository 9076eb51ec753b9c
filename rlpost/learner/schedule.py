"""The learning rate as a pure function of the step, so that a resumed run gets the same rate."""

from __future__ import annotations

import math

from rlpost.recipe.sections import OptimizerConfig


def learning_rate_at(step: int, optimizer: OptimizerConfig, *, total_steps: int) -> float:
    """Return the learning rate of the optimizer step with this index, counted from 0.

    The warm-up rises linearly and reaches the full rate on its last step. The schedule then falls to `min_ratio` of the
    full rate at `total_steps`.
    """
    warmup_steps = optimizer.warmup_steps(total_steps)
    if step < warmup_steps:
        return optimizer.learning_rate * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    match optimizer.schedule:
        case "constant":
            share = 1.0
        case "linear":
            share = 1.0 - progress
        case "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * progress))
    return optimizer.learning_rate * (optimizer.min_ratio + (1.0 - optimizer.min_ratio) * share)
