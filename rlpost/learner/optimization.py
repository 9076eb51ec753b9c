"""A sharded model together with the AdamW optimizer that trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from rlpost.learner.model import trainable_parameters
from rlpost.learner.schedule import learning_rate_at
from rlpost.learner.sharding import gathered
from rlpost.recipe.sections import OptimizerConfig


class TrainedModel:
    """One model with its optimizer, schedule and gradient clipping; a learner has one, or two if it has a critic."""

    def __init__(self, module: nn.Module, optimizer: OptimizerConfig, *, total_steps: int) -> None:
        self.module = module
        self._config = optimizer
        self._total_steps = total_steps
        self._parameters = trainable_parameters(module)
        self.optimizer = torch.optim.AdamW(
            _decay_groups(self._parameters, weight_decay=optimizer.weight_decay),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            # The fused version runs one kernel per parameter: it takes a third of the loop's time, and no temporary
            # memory.
            fused=True,
        )

    def clip(self) -> float:
        """Clip the gradient to `max_grad_norm`, and return its norm before clipping. A collective."""
        norm = nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
        return float(gathered(norm))

    def update(self, step: int) -> float:
        """Take the optimizer step with this index, counted from 0, and return its learning rate."""
        rate = learning_rate_at(step, self._config, total_steps=self._total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return rate

    def discard(self) -> None:
        """Drop the gradient."""
        self.optimizer.zero_grad()


def _decay_groups(parameters: Sequence[nn.Parameter], *, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups. Vectors, which are the gains of norms and the biases, do not decay: a
    gain that decays towards 0 shrinks the signal instead of simplifying the function.
    """
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = ({"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]
