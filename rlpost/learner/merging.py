"""Arithmetic on the weights of several models, one tensor at a time, in float32.

Every method leaves entries unchanged on which all models agree, so equal models merge into exactly the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import xxhash
from torch import Tensor

_PARALLEL = 0.9995
"""Cosine above which the arc equals a line in float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """A method of `merging` with its settings.

    Args:
        method: `linear`, `slerp`, `task_arithmetic`, `ties`, `dare_linear` or `dare_ties`.
        weights: One weight per model.
        density: Share of each task vector that is kept.
        scale: Factor of the merged task vector.
        seed: Determines, together with the model's position and the tensor's name, which entries DARE drops.
    """

    method: str
    weights: tuple[float, ...]
    density: float
    scale: float
    seed: str

    def tensor(self, name: str, models: Sequence[Tensor], base: Tensor | None) -> Tensor:
        """Merge one tensor. `base` is given for methods that use task vectors; all tensors are float32."""
        if self.method == "linear":
            return linear(models, self.weights)
        if self.method == "slerp":
            return slerp(models[0], models[1], fraction=self.weights[1] / sum(self.weights))
        assert base is not None, "a task vector is a difference to a base"
        vectors = [model - base for model in models]
        if self.method.startswith("dare_"):
            vectors = [
                drop(vector, density=self.density, generator=self._generator(name, place))
                for place, vector in enumerate(vectors)
            ]
        elif self.method == "ties":
            vectors = [trim(vector, density=self.density) for vector in vectors]
        join = agreeing_mean if self.method.endswith("ties") else weighted_sum
        return _moved(base, self.scale * join(vectors, self.weights))

    def _generator(self, name: str, place: int) -> torch.Generator:
        return torch.Generator().manual_seed(xxhash.xxh64_intdigest(f"{self.seed}/{place}/{name}".encode()) >> 1)


def _moved(start: Tensor, change: Tensor) -> Tensor:
    """Add a change to a tensor; an unchanged entry keeps its bits, including the sign of a zero."""
    return torch.where(change == 0, start, start + change)


def linear(models: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Compute the weighted mean, `sum_i w_i m_i / sum_i w_i`; an entry on which all models agree keeps its bits."""
    total = sum(weights)
    mean, agree = torch.zeros_like(models[0]), torch.ones_like(models[0], dtype=torch.bool)
    for model, weight in zip(models, weights, strict=True):
        mean += (weight / total) * model
        agree &= model == models[0]
    return torch.where(agree, models[0], mean)


def slerp(first: Tensor, second: Tensor, *, fraction: float) -> Tensor:
    """Return a point on the arc between two tensors, taken as vectors: `(sin((1-t)a) u + sin(ta) v) / sin(a)`.

    `a` is the angle between them. If they are parallel, or one is zero, the arc is a line.
    """
    norms = first.norm() * second.norm()
    cosine = (first * second).sum() / norms if norms > 0 else torch.ones(())
    if cosine.abs() > _PARALLEL:
        return _moved(first, fraction * (second - first))
    angle = torch.arccos(cosine)
    return (torch.sin((1 - fraction) * angle) * first + torch.sin(fraction * angle) * second) / torch.sin(angle)


def weighted_sum(vectors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Add up task vectors (arXiv 2212.04089, section 2); a negative weight forgets a task."""
    total = torch.zeros_like(vectors[0])
    for vector, weight in zip(vectors, weights, strict=True):
        total += weight * vector
    return total


def trim(vector: Tensor, *, density: float) -> Tensor:
    """Keep at least this share of the entries, those of largest magnitude; set the others to 0 (TIES, algorithm 1, step
    1).
    """
    magnitudes = vector.abs().flatten()
    dropped = len(magnitudes) - max(1, round(density * len(magnitudes)))
    if dropped == 0:
        return vector
    # The smallest magnitude that is kept; equal magnitudes are kept together.
    threshold = magnitudes.kthvalue(dropped + 1).values
    return torch.where(vector.abs() >= threshold, vector, 0)


def drop(vector: Tensor, *, density: float, generator: torch.Generator) -> Tensor:
    """Keep each entry with probability `density`, divided by `density`; set the others to 0 (DARE, equation 4)."""
    kept = torch.rand(vector.shape, generator=generator) < density
    return torch.where(kept, vector / density, 0)


def agreeing_mean(vectors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Average the entries that have the sign of the weighted sum, by weight (TIES, algorithm 1, steps 2 and 3)."""
    sign = weighted_sum(vectors, weights).sign()
    total, shares = torch.zeros_like(sign), torch.zeros_like(sign)
    for vector, weight in zip(vectors, weights, strict=True):
        agrees = (weight * vector).sign() == sign
        taken = agrees & (vector != 0)
        total += torch.where(taken, weight * vector, 0)
        shares += torch.where(taken, abs(weight), 0)
    return torch.where(shares > 0, total / shares, 0)
