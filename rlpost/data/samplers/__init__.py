"""Samplers: which rows a stage uses next. One file a kind; `sampler_of` makes the one that a recipe asks for.

A sampler has a state, from which it continues exactly: equal states and equal observations give equal rows.
`next(a + b)` gives the rows of `next(a)` and then those of `next(b)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlpost.data.samplers.curriculum import CurriculumSampler
from rlpost.data.samplers.mixture import MixtureSampler
from rlpost.data.samplers.plugin_sampler import PluginSampler
from rlpost.data.samplers.repeated import RepeatedSampler
from rlpost.data.samplers.rows import SampledRows
from rlpost.data.samplers.shuffled import ShuffledSampler
from rlpost.interfaces import Sampler
from rlpost.recipe.sampler import (
    AnySampler,
    CurriculumConfig,
    MixtureConfig,
    PluginSamplerConfig,
    RepeatedConfig,
    ShuffledConfig,
)

__all__ = ["SampledRows", "sampler_of"]


def sampler_of(config: AnySampler, rows: SampledRows, *, seed: int, rows_per_step: int) -> Sampler:
    """Make the sampler of a stage in its initial state.

    Raises:
        DataError: a data set of a mixture has no rows.
        PluginError: the user's sampler does not exist, or cannot be made.
    """
    return _SAMPLERS[type(config)](config, rows, seed=seed, rows_per_step=rows_per_step)


_SAMPLERS: dict[type[Any], Callable[..., Sampler]] = {
    ShuffledConfig: ShuffledSampler,
    MixtureConfig: MixtureSampler,
    RepeatedConfig: RepeatedSampler,
    CurriculumConfig: CurriculumSampler,
    PluginSamplerConfig: PluginSampler,
}
