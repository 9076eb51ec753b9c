"""Samplers: which rows a stage uses next. One file a kind; `sampler_of` makes the one that a recipe asks for.

A sampler has state, and goes on from it exactly: equal state and equal observations give equal rows. `next(a + b)`
gives the rows of `next(a)` and then those of `next(b)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlpost.data.samplers.curriculum import CurriculumSampler
from rlpost.data.samplers.mixture import MixtureSampler
from rlpost.data.samplers.rows import SampledRows
from rlpost.data.samplers.shuffled import ShuffledSampler
from rlpost.recipe.sampler import AnySampler, CurriculumConfig, MixtureConfig, ShuffledConfig

__all__ = ["AnyRowSampler", "SampledRows", "sampler_of"]

AnyRowSampler = ShuffledSampler | MixtureSampler | CurriculumSampler


def sampler_of(config: AnySampler, rows: SampledRows, *, seed: int, rows_per_step: int) -> AnyRowSampler:
    """The sampler of a stage at its start.

    Raises:
        DataError: a data set of a mixture has no rows.
    """
    make: Callable[..., AnyRowSampler] = _SAMPLERS[type(config)]
    return make(config, rows, seed=seed, rows_per_step=rows_per_step)


_SAMPLERS: dict[type[Any], Callable[..., AnyRowSampler]] = {
    ShuffledConfig: ShuffledSampler,
    MixtureConfig: MixtureSampler,
    CurriculumConfig: CurriculumSampler,
}
