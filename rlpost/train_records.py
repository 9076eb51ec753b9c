"""Records of training: one row, the batch of one optimizer step, and the report on that step.

A column of a row or a batch has one value per token and a name that ends in `_T`; a column that no loss needs is
absent. The names in use:

| column | meaning | filled in by |
|---|---|---|
| `advantages_T` | credit of the token | RL |
| `behaviour_logprobs_T` | log-probability under the policy that sampled it, as the generator reported it | RL |
| `reference_logprobs_T` | log-probability under the frozen reference model | DPO, KTO, QRPO, RL with a KL penalty |
| `proximal_logprobs_T` | log-probability before the first optimizer step on this batch | RL that recomputes |
| `proximal_mix_T` | share of the current policy in the log-linear estimate of the proximal one | RL that estimates |
| `targets_T` | label or quantile of reward that the row is trained towards | KTO, QRPO |
| `baseline_T` | KTO's estimate of the divergence from the reference, one number for a step | KTO |
| `returns_T` | the value that a critic should have predicted | PPO |
| `old_values_T` | the critic's prediction before the first optimizer step on this batch of rollouts | PPO |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlpost.records import FloatArray, IntArray

ComponentArray = NDArray[np.uint8]
NO_COLUMNS: Mapping[str, FloatArray] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRow:
    """One token sequence to learn from. A stage makes it; `TrainBatch.of` takes it.

    All arrays have shape [T] and refer to the token at the same index: `weights_T[t]` is the loss weight of predicting
    token t from the tokens before it, so `weights_T[0]` must be 0.
    """

    token_ids: IntArray
    weights_T: FloatArray
    columns: Mapping[str, FloatArray] = field(default_factory=lambda: NO_COLUMNS)
    """Name -> one value per token; see the table of this module."""
    component_T: ComponentArray | None = None
    """Index of each token's component in the batch's `components`; None puts the whole row into the first one."""
    source: str = ""
    """The row of the data, or the sample of the prompt, from which it was made; for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """A part of a batch with its own mean, such as RL tokens beside demonstration tokens.

    The gradient of a batch is that of `sum over components of weight * (sum of its loss) / denominator`.
    """

    name: str
    denominator: float
    """The global count by which the component's summed loss is divided."""
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainBatch:
    """The rows of one optimizer step, end to end. A stage makes it; each learner rank gets its own rows of it.

    The gradient does not depend on how the rows are split over ranks and micro-batches.
    """

    token_ids: IntArray
    """All rows end to end; shape [sum of T]."""
    row_lengths_B: IntArray
    weights_T: FloatArray
    columns: Mapping[str, FloatArray]
    """Name -> one value per token; only columns that a loss or a stage has filled in."""
    components: tuple[Component, ...]
    """The components, at least one."""
    component_T: ComponentArray | None
    """Index of each token's component in `components`; None if all tokens belong to the first one."""
    temperature: float
    """Divisor of the logits before log-probabilities are taken; 1 if nothing was sampled."""
    rows_per_unit: int
    """Rows that must stay together in one micro-batch: 1, or 2 for preference pairs (chosen, rejected)."""
    sources: tuple[str, ...] = ()
    """Origin of each row, for people; shape [B]."""

    @classmethod
    def of(
        cls,
        rows: Sequence[TrainRow],
        *,
        components: Sequence[Component],
        temperature: float = 1.0,
        rows_per_unit: int = 1,
    ) -> TrainBatch:
        """Join rows into one batch. A column that only some rows have is 0 for the tokens of the others."""
        assert rows, "a batch needs at least one row"
        assert components, "a batch needs at least one component"
        assert len(rows) % rows_per_unit == 0, f"{len(rows)} rows do not split into units of {rows_per_unit}"
        for component in components:
            assert component.denominator > 0, f"the denominator of {component.name} must be above 0: {component}"
        for row in rows:
            assert row.weights_T[0] == 0, "the first token of a row has nothing before it to be predicted from"
            length = len(row.token_ids)
            assert len(row.weights_T) == length, "weights_T and tokens of a row must have one length"
            for name, values_T in row.columns.items():
                assert len(values_T) == length, f"{name} and tokens of a row must have one length"
        names = dict.fromkeys(name for row in rows for name in row.columns)
        if len(components) == 1:
            for row in rows:
                assert row.columns.keys() == names.keys(), f"rows must have equal columns: {[*row.columns]}, {[*names]}"
        return cls(
            token_ids=np.concatenate([row.token_ids for row in rows]).astype(np.int32, copy=False),
            row_lengths_B=np.array([len(row.token_ids) for row in rows], np.int32),
            weights_T=np.concatenate([row.weights_T for row in rows]).astype(np.float32, copy=False),
            columns={name: _joined(name, rows) for name in names},
            components=tuple(components),
            component_T=_component_T(rows) if len(components) > 1 else None,
            temperature=temperature,
            rows_per_unit=rows_per_unit,
            sources=tuple(row.source for row in rows),
        )

    def rows(self, indices: Sequence[int]) -> TrainBatch:
        """Return the same batch with only these rows, in this order; components keep their global denominators."""
        ends_B = np.cumsum(self.row_lengths_B, dtype=np.int64)
        starts_B = ends_B - self.row_lengths_B
        chosen = [np.arange(starts_B[row], ends_B[row]) for row in indices]
        token_T = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
        return TrainBatch(
            token_ids=self.token_ids[token_T],
            row_lengths_B=self.row_lengths_B[list(indices)],
            weights_T=self.weights_T[token_T],
            columns={name: values_T[token_T] for name, values_T in self.columns.items()},
            components=self.components,
            component_T=None if self.component_T is None else self.component_T[token_T],
            temperature=self.temperature,
            rows_per_unit=self.rows_per_unit,
            sources=tuple(self.sources[row] for row in indices) if self.sources else (),
        )


def one_component(name: str, denominator: float) -> tuple[Component, ...]:
    """Return the components of a batch whose tokens all belong together."""
    return (Component(name=name, denominator=denominator),)


def _joined(name: str, rows: Sequence[TrainRow]) -> FloatArray:
    parts = [row.columns[name] if name in row.columns else np.zeros(len(row.token_ids), np.float32) for row in rows]
    return np.concatenate(parts).astype(np.float32, copy=False)


def _component_T(rows: Sequence[TrainRow]) -> ComponentArray:
    parts = [np.zeros(len(row.token_ids), np.uint8) if row.component_T is None else row.component_T for row in rows]
    return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """The result of one optimizer step, reduced over all ranks. The learner makes it; the tracker takes it."""

    step: int
    """Number of optimizer steps taken so far in this stage, including this one."""
    loss: float
    grad_norm: float
    """Norm of the gradient before clipping."""
    learning_rate: float
    tokens: int
    """Number of tokens run through the model, prompts included."""
    scored_tokens: int
    """Number of tokens with a loss weight other than 0."""
    seconds: float
    """Time inside the learner, without transport."""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """Metrics that the loss function reports, for example `kl` or `clip_fraction`."""
