"""The optimizer of a trained stage, and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, model_validator

from rlpost.recipe.number_words import count
from rlpost.recipe.sections import Section

OptimizerKind = Literal["adamw", "muon", "ademamix"]
Schedule = Literal["constant", "linear", "cosine", "inverse_sqrt", "wsd", "infinite"]
_ANNEALED: tuple[Schedule, ...] = ("wsd", "infinite")
"""Schedules that keep a rate and anneal it over the last steps."""


def _list_as_tuple(written: Any) -> Any:
    return tuple(cast("list[Any]", written)) if isinstance(written, list) else written


Share = Annotated[float, Field(ge=0, lt=1)]
# In strict mode, pydantic accepts a list as a tuple only when it reads JSON; a stage with a preset is plain data by
# then.
Betas = Annotated[tuple[Share, Share], BeforeValidator(_list_as_tuple)]


class ParameterGroup(Section):
    """Parameters with a learning rate of their own, which follows the stage's schedule."""

    parameters: list[str] = Field(min_length=1)
    """Patterns of names, with `*` for any characters, for example `*embed_tokens*`; a pattern must match."""
    learning_rate: float = Field(ge=0)
    """0 keeps the parameters as they are, apart from weight decay, which is multiplied by the rate as well."""


class OptimizerConfig(Section):
    """An optimizer with a learning rate schedule."""

    kind: OptimizerKind = "adamw"
    """`adamw` (arXiv 1711.05101); `muon`: orthogonalised momentum for the matrices of the layers, scaled to the size of
    AdamW's updates as in arXiv 2502.16982, section 2.2, and AdamW for everything else; `ademamix` (arXiv
    2409.03137)."""
    learning_rate: float = Field(gt=0)
    schedule: Schedule = "constant"
    """Schedule after the warm-up; docs/optimizers.md has the formulas. It counts the steps that the stage plans,
    including those that are left out for lack of a signal."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the stage's steps over which the learning rate rises."""
    start_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rate from which the warm-up rises: the rate at which a stage before ended, when it is warmed up
    again."""
    min_ratio: float = Field(default=0.0, ge=0, le=1)
    """Share of the rate that is reached one step after the last."""
    decay_ratio: float | None = Field(default=None, gt=0, le=1)
    """Share of the steps, at the end, over which `wsd` and `infinite` anneal; by default 0.1."""
    decay_shape: Literal["linear", "cosine", "sqrt"] = "linear"
    """How they anneal; `sqrt` is 1 - sqrt(progress) (arXiv 2405.18392, section 4)."""
    constant_ratio: float | None = Field(default=None, gt=0, le=1)
    """Share of the rate that `infinite` keeps between cool-down and annealing; by default 0.5."""
    cooldown_ratio: float | None = Field(default=None, ge=0, lt=1)
    """Share of the steps over which `infinite` falls to `constant_ratio` after the warm-up; by default 0.25."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay of the weight matrices and embeddings; gains of norms and biases do not decay."""
    betas: Betas = (0.9, 0.999)
    """Decay of the means of gradient and squared gradient, for AdamW and AdEMAMix."""
    eps: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Muon's momentum, with Nesterov's correction."""
    slow_beta: float = Field(default=0.9999, ge=0, lt=1)
    """AdEMAMix's decay of the slow mean of the gradient. It rises from the first of `betas` over the stage."""
    slow_weight: float = Field(default=5.0, ge=0)
    """AdEMAMix's weight of the slow mean (alpha); it rises from 0 over the stage."""
    groups: list[ParameterGroup] = Field(default_factory=list[ParameterGroup])
    """Parameters with other learning rates; the first group with a pattern that matches counts."""

    @model_validator(mode="after")
    def _keys_of_the_schedule(self) -> OptimizerConfig:
        for key, schedules in (
            ("decay_ratio", _ANNEALED),
            ("constant_ratio", ("infinite",)),
            ("cooldown_ratio", ("infinite",)),
        ):
            if getattr(self, key) is not None and self.schedule not in schedules:
                raise ValueError(
                    f"{key} is for the schedules {' and '.join(schedules)}; found schedule {self.schedule}: remove "
                    f"{key}, or choose another schedule"
                )
        shares = self.warmup_ratio + self.decay_share * (self.schedule in _ANNEALED)
        shares += self.cooldown_share * (self.schedule == "infinite")
        if shares > 1 + 1e-9:
            raise ValueError(
                f"warm-up, cool-down and annealing must fit into the stage; their shares add up to {shares:g}: lower "
                "warmup_ratio, cooldown_ratio or decay_ratio"
            )
        return self

    @property
    def decay_share(self) -> float:
        """Share of the steps over which `wsd` and `infinite` anneal."""
        return 0.1 if self.decay_ratio is None else self.decay_ratio

    @property
    def constant_share(self) -> float:
        """Share of the rate that `infinite` keeps."""
        return 0.5 if self.constant_ratio is None else self.constant_ratio

    @property
    def cooldown_share(self) -> float:
        """Share of the steps over which `infinite` cools down."""
        return 0.25 if self.cooldown_ratio is None else self.cooldown_ratio

    @property
    def numbers_per_parameter(self) -> int:
        """Most float32 numbers that the optimizer keeps for each parameter."""
        return 3 if self.kind == "ademamix" else 2

    def warmup_steps(self, total_steps: int) -> int:
        """Return the number of steps over which the learning rate rises, rounded up; 0.07 of 100 steps is exactly 7."""
        return _steps(self.warmup_ratio, total_steps)

    def decay_steps(self, total_steps: int) -> int:
        """Return the number of steps over which the rate is annealed, rounded up."""
        return min(_steps(self.decay_share, total_steps), total_steps - self.warmup_steps(total_steps))

    def cooldown_steps(self, total_steps: int) -> int:
        """Return the number of steps over which `infinite` cools down, rounded up."""
        left = total_steps - self.warmup_steps(total_steps) - self.decay_steps(total_steps)
        return min(_steps(self.cooldown_share, total_steps), left)

    def words(self, total_steps: int | None) -> Iterator[str]:
        """Yield the parts of the line that `rlpost check` prints; `total_steps` is None if it depends on the data."""
        if self.kind != "adamw":
            yield self.kind
        yield f"learning rate {self.learning_rate:g}, {self.schedule}"
        if self.warmup_ratio == 0:
            yield "no warm-up"
        elif total_steps is None:
            yield f"warm-up over the first {self.warmup_ratio:.3g} of the steps"
        else:
            yield f"warm-up over {count(self.warmup_steps(total_steps), 'step')} of {total_steps:,}"
        if self.schedule in _ANNEALED:
            known = None if total_steps is None else count(self.decay_steps(total_steps), "step")
            yield f"annealed over the last {known or f'{self.decay_share:.3g} of the steps'}"
        for group in self.groups:
            yield f"{', '.join(group.parameters)} at {group.learning_rate:g}"


def _steps(share: float, total_steps: int) -> int:
    return math.ceil(round(share * total_steps, 6))
