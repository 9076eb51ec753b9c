"""Loss inputs written out by hand, in double precision, for the tests of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rlpost.interfaces import LossFn, LossInputs, LossSums


def inputs_of(
    logprobs: Sequence[float],
    *,
    rows: Sequence[int],
    weights: Sequence[float] | None = None,
    advantages: Sequence[float] | None = None,
    behaviour: Sequence[float] | None = None,
    reference: Sequence[float] | None = None,
    proximal: Sequence[float] | None = None,
    mix: Sequence[float] | None = None,
    returns: Sequence[float] | None = None,
    old_values: Sequence[float] | None = None,
    targets: Sequence[float] | None = None,
    baseline: Sequence[float] | None = None,
    values: Sequence[float] | None = None,
    row_count: int | None = None,
) -> LossInputs:
    """One value a token; columns not given are 1 (weights) or 0."""

    def column(values: Sequence[float] | None, fill: float) -> Tensor:
        return torch.tensor([fill] * len(logprobs) if values is None else list(values), dtype=torch.float64)

    return LossInputs(
        logprobs_T=torch.tensor(list(logprobs), dtype=torch.float64, requires_grad=True),
        weights_T=column(weights, 1.0),
        columns={
            "advantages_T": column(advantages, 0.0),
            "behaviour_logprobs_T": column(behaviour, 0.0),
            "reference_logprobs_T": column(reference, 0.0),
            "proximal_logprobs_T": column(proximal, 0.0),
            "proximal_mix_T": column(mix, 0.0),
            "returns_T": column(returns, 0.0),
            "old_values_T": column(old_values, 0.0),
            "targets_T": column(targets, 0.0),
            "baseline_T": column(baseline, 0.0),
        },
        values_T=None if values is None else column(values, 0.0).requires_grad_(),
        row_T=torch.tensor(list(rows), dtype=torch.int64),
        row_count=max(rows, default=-1) + 1 if row_count is None else row_count,
        component="rl",
    )


def with_columns(inputs: LossInputs, **changed: Tensor) -> LossInputs:
    """The same tokens with other columns."""
    return replace(inputs, columns={**inputs.columns, **changed})


def split_at_row(inputs: LossInputs, boundary: int) -> list[LossInputs]:
    """The same tokens as two micro-batches: rows before `boundary`, and the rest counted from 0 again."""
    parts: list[LossInputs] = []
    for keep_T, first, count in (
        (inputs.row_T < boundary, 0, boundary),
        (inputs.row_T >= boundary, boundary, inputs.row_count - boundary),
    ):
        parts.append(
            replace(
                inputs,
                logprobs_T=inputs.logprobs_T[keep_T],
                weights_T=inputs.weights_T[keep_T],
                columns={name: values_T[keep_T] for name, values_T in inputs.columns.items()},
                values_T=None if inputs.values_T is None else inputs.values_T[keep_T],
                row_T=inputs.row_T[keep_T] - first,
                row_count=count,
            )
        )
    return parts


def added(parts: Sequence[LossSums]) -> tuple[float, dict[str, tuple[float, float]], dict[str, float]]:
    """What the learner reports for several micro-batches."""
    total = sum(part.total.item() for part in parts)
    means = {
        name: (sum(float(part.means[name][0]) for part in parts), sum(float(part.means[name][1]) for part in parts))
        for name in parts[0].means
    }
    maxima = {name: max(float(part.maxima[name]) for part in parts) for name in parts[0].maxima}
    return total, means, maxima


def mean_of(sums: LossSums, name: str) -> float:
    """A mean as the learner reports it."""
    value, count = sums.means[name]
    return float(value) / float(count)


def single_precision(inputs: LossInputs) -> LossInputs:
    """The same tokens in float32, as the learner has them."""
    return replace(
        inputs,
        logprobs_T=inputs.logprobs_T.detach().float().requires_grad_(),
        weights_T=inputs.weights_T.float(),
        columns={name: values_T.float() for name, values_T in inputs.columns.items()},
    )


def gradient_by_differences(loss: LossFn, inputs: LossInputs, *, step: float = 1e-6) -> Tensor:
    """Central differences of the total in each token's log-probability."""

    def total(logprobs_T: Tensor) -> float:
        return loss(replace(inputs, logprobs_T=logprobs_T)).total.item()

    return _central_differences(total, inputs.logprobs_T.detach(), step=step)


def value_gradient_by_differences(loss: LossFn, inputs: LossInputs, *, step: float = 1e-6) -> Tensor:
    """Central differences of the total in each token's value."""
    assert inputs.values_T is not None

    def total(values_T: Tensor) -> float:
        return loss(replace(inputs, values_T=values_T)).total.item()

    return _central_differences(total, inputs.values_T.detach(), step=step)


def gradient_by_autograd(loss: LossFn, inputs: LossInputs) -> Tensor:
    """What the learner would use."""
    (gradient_T,) = torch.autograd.grad(loss(inputs).total, inputs.logprobs_T)
    return gradient_T


def value_gradient_by_autograd(loss: LossFn, inputs: LossInputs) -> Tensor:
    """What the learner would use for the critic, or for a score head."""
    assert inputs.values_T is not None
    (gradient_T,) = torch.autograd.grad(loss(inputs).total, inputs.values_T)
    return gradient_T


def _central_differences(function: Callable[[Tensor], float], at_T: Tensor, *, step: float) -> Tensor:
    result = torch.zeros_like(at_T)
    for index in range(len(at_T)):
        offset = torch.zeros_like(at_T)
        offset[index] = step
        result[index] = (function(at_T + offset) - function(at_T - offset)) / (2 * step)
    return result
