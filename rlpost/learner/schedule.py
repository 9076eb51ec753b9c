"""The learning rate as a pure function of the step, so that a resumed run gets the same rate."""

from __future__ import annotations

import math

from rlpost.recipe.optimizer import OptimizerConfig


def learning_rate_at(step: int, optimizer: OptimizerConfig, *, total_steps: int) -> float:
    """Return the learning rate of the optimizer step with this index, counted from 0.

    The warm-up rises linearly from `start_ratio` and reaches the full rate on its last step. The schedule then falls
    to `min_ratio` of the full rate at `total_steps`; `inverse_sqrt` falls to it or stays above it.
    """
    return optimizer.learning_rate * _share_at(step, optimizer, total_steps)


def _share_at(step: int, optimizer: OptimizerConfig, total_steps: int) -> float:
    warmup_steps, least = optimizer.warmup_steps(total_steps), optimizer.min_ratio
    if step < warmup_steps:
        return optimizer.start_ratio + (1.0 - optimizer.start_ratio) * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    match optimizer.schedule:
        case "constant":
            return 1.0
        case "linear":
            return least + (1.0 - least) * (1.0 - progress)
        case "cosine":
            return least + (1.0 - least) * _half_wave(progress)
        case "inverse_sqrt":
            # Vaswani et al. (arXiv 1706.03762, section 5.3), which is 1 at the end of the warm-up.
            return max(least, math.sqrt(max(1, warmup_steps) / max(1, step + 1)))
        case "wsd":
            # Warm-up, stable, decay (arXiv 2404.06395, section 4).
            return _annealed(step, 1.0, optimizer, total_steps)
        case "infinite":
            # arXiv 2403.08763, section 7.4: cool down, stay, anneal.
            cooldown_steps, kept = optimizer.cooldown_steps(total_steps), optimizer.constant_share
            passed = step - warmup_steps
            if passed < cooldown_steps:
                return kept + (1.0 - kept) * _half_wave(passed / cooldown_steps)
            return _annealed(step, kept, optimizer, total_steps)


def _annealed(step: int, kept: float, optimizer: OptimizerConfig, total_steps: int) -> float:
    """Return a share that is `kept` until the last steps, over which it falls to `min_ratio`."""
    decay_steps = optimizer.decay_steps(total_steps)
    progress = (step - (total_steps - decay_steps)) / max(1, decay_steps)
    if progress <= 0:
        return kept
    progress = min(1.0, progress)
    match optimizer.decay_shape:
        case "linear":
            share = 1.0 - progress
        case "cosine":
            share = _half_wave(progress)
        case "sqrt":
            share = 1.0 - math.sqrt(progress)
    least = min(kept, optimizer.min_ratio)
    return least + (kept - least) * share


def _half_wave(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))
