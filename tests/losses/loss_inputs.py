"""Loss inputs written out by hand, in double precision, for the tests of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

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
    row_count: int | None = None,
) -> LossInputs:
    """One value a token; columns not given are 1 (weights) or 0."""

    def column(values: Sequence[float] | None, fill: float) -> Tensor:
        return torch.tensor([fill] * len(logprobs) if values is None else list(values), dtype=torch.float64)

    return LossInputs(
        logprobs_T=torch.tensor(list(logprobs), dtype=torch.float64, requires_grad=True),
        weights_T=column(weights, 1.0),
        advantages_T=column(advantages, 0.0),
        behaviour_logprobs_T=column(behaviour, 0.0),
        reference_logprobs_T=column(reference, 0.0),
        row_T=torch.tensor(list(rows), dtype=torch.int64),
        row_count=max(rows, default=-1) + 1 if row_count is None else row_count,
    )


def split_at_row(inputs: LossInputs, boundary: int) -> list[LossInputs]:
    """The same tokens as two micro-batches: rows before `boundary`, and the rest counted from 0 again."""
    parts: list[LossInputs] = []
    for keep_T, first, count in (
        (inputs.row_T < boundary, 0, boundary),
        (inputs.row_T >= boundary, boundary, inputs.row_count - boundary),
    ):
        columns = {
            column.name: getattr(inputs, column.name)[keep_T] for column in fields(inputs) if column.name != "row_count"
        }
        part = LossInputs(**columns, row_count=count)
        parts.append(replace(part, row_T=part.row_T - first))
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


def gradient_by_differences(loss: LossFn, inputs: LossInputs, *, step: float = 1e-6) -> Tensor:
    """Central differences of the total in each token's log-probability."""

    def total(logprobs_T: Tensor) -> float:
        return loss(replace(inputs, logprobs_T=logprobs_T)).total.item()

    return _central_differences(total, inputs.logprobs_T.detach(), step=step)


def gradient_by_autograd(loss: LossFn, inputs: LossInputs) -> Tensor:
    """What the learner would use."""
    (gradient_T,) = torch.autograd.grad(loss(inputs).total, inputs.logprobs_T)
    return gradient_T


def _central_differences(function: Callable[[Tensor], float], at_T: Tensor, *, step: float) -> Tensor:
    result = torch.zeros_like(at_T)
    for index in range(len(at_T)):
        offset = torch.zeros_like(at_T)
        offset[index] = step
        result[index] = (function(at_T + offset) - function(at_T - offset)) / (2 * step)
    return result
