"""A sharded model together with the optimizer that trains it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from rlpost.errors import RecipeError
from rlpost.learner.model import trainable_parameters
from rlpost.learner.schedule import learning_rate_at
from rlpost.learner.sharding import decoder_layers, gathered
from rlpost.recipe.nearest import some_of
from rlpost.recipe.optimizer import OptimizerConfig


class TrainedModel:
    """One model with its optimizer, schedule and gradient clipping; a learner has one, or two if it has a critic.

    Raises:
        RecipeError: a pattern of `optimizer.groups` matches no parameter that is trained.
    """

    def __init__(self, module: nn.Module, optimizer: OptimizerConfig, *, total_steps: int) -> None:
        self.module = module
        self._config = optimizer
        self._total_steps = total_steps
        self._parameters = trainable_parameters(module)
        self._groups = _groups(module, optimizer)
        self.optimizers = _optimizers(self._groups, optimizer, total_steps=total_steps)

    def clip(self) -> float:
        """Clip the gradient to `max_grad_norm`, and return its norm before clipping. A collective."""
        norm = nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
        return float(gathered(norm))

    def update(self, step: int) -> float:
        """Take the optimizer step with this index, counted from 0, and return its learning rate."""
        rate = learning_rate_at(step, self._config, total_steps=self._total_steps)
        shares = iter([group.rate_share for group in self._groups])
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * next(shares)
            optimizer.step()
        self.discard()
        return rate

    def discard(self) -> None:
        """Drop the gradient."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()


class _Group(NamedTuple):
    """Parameters that are updated alike."""

    parameters: list[nn.Parameter]
    rate_share: float
    """Their learning rate in units of the stage's."""
    decays: bool
    by_muon: bool


def _groups(module: nn.Module, optimizer: OptimizerConfig) -> list[_Group]:
    """Sort the trained parameters into groups, those of Muon first. Vectors, which are the gains of norms and the
    biases, do not decay: a gain that decays towards 0 shrinks the signal instead of simplifying the function.
    """
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    patterns = [pattern for group in optimizer.groups for pattern in group.parameters]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name, _ in named):
            names = [name for name, _ in named]
            raise RecipeError(
                f"every pattern of optimizer.groups must match the name of a trained parameter; {pattern!r} matches "
                f"none of {some_of(names)}: `*` stands for any characters"
            )
    matrices = {id(parameter) for parameter in _matrices_of_layers(module)} if optimizer.kind == "muon" else set[int]()
    sorted_: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        key = (id(parameter) not in matrices, parameter.ndim <= 1, _rate_of(name, optimizer) / optimizer.learning_rate)
        sorted_.setdefault(key, []).append(parameter)
    order = sorted(sorted_, key=lambda key: key[:2])
    return [_Group(sorted_[key], rate_share=key[2], decays=not key[1], by_muon=not key[0]) for key in order]


def _rate_of(name: str, optimizer: OptimizerConfig) -> float:
    for group in optimizer.groups:
        if any(fnmatchcase(name, pattern) for pattern in group.parameters):
            return group.learning_rate
    return optimizer.learning_rate


def _matrices_of_layers(module: nn.Module) -> Iterator[nn.Parameter]:
    for layer in decoder_layers(module):
        yield from (parameter for parameter in layer.parameters() if parameter.ndim == 2)


def _optimizers(
    groups: Sequence[_Group], optimizer: OptimizerConfig, *, total_steps: int
) -> tuple[torch.optim.Optimizer, ...]:
    """Make one optimizer, or Muon and AdamW, whose parameter groups are `groups` in order."""
    by_muon, others = ([group for group in groups if group.by_muon == wanted] for wanted in (True, False))
    made: list[torch.optim.Optimizer] = []
    if by_muon:
        made.append(
            torch.optim.Muon(
                [{"params": one.parameters, "weight_decay": optimizer.weight_decay} for one in by_muon],
                lr=optimizer.learning_rate,
                momentum=optimizer.momentum,
                nesterov=True,
                # One learning rate then serves both optimizers.
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if others:
        listed = [
            {"params": one.parameters, "weight_decay": optimizer.weight_decay if one.decays else 0.0} for one in others
        ]
        is_mixed = optimizer.kind == "ademamix"
        made.append(_ademamix(listed, optimizer, total_steps) if is_mixed else _adamw(listed, optimizer))
    return tuple(made)


def _adamw(groups: list[dict[str, Any]], optimizer: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        groups,
        lr=optimizer.learning_rate,
        betas=optimizer.betas,
        eps=optimizer.eps,
        # The fused version runs one kernel per parameter: it takes a third of the loop's time, and no temporary memory.
        fused=True,
    )


def _ademamix(groups: list[dict[str, Any]], optimizer: OptimizerConfig, total_steps: int) -> torch.optim.Optimizer:
    from pytorch_optimizer import AdEMAMix  # Only runs that use it need it.

    return cast(
        "torch.optim.Optimizer",
        AdEMAMix(
            groups,
            lr=optimizer.learning_rate,
            betas=(*optimizer.betas, optimizer.slow_beta),
            alpha=optimizer.slow_weight,
            t_alpha_beta3=float(total_steps),
            eps=optimizer.eps,
            weight_decouple=True,
        ),
    )
