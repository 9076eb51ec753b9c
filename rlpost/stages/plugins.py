"""Loads and tests the plug-ins that a recipe's stages name, before anything starts. Only a loss imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from rlpost.advantage.plugin_advantage import plugin_advantage, try_advantage
from rlpost.data.samplers import SampledRows
from rlpost.data.samplers.plugin_sampler import try_sampler
from rlpost.errors import InputError, PluginError
from rlpost.recipe.plugin_reference import plugins_of
from rlpost.recipe.problems import Problem
from rlpost.recipe.rl import AdvantageConfig, PluginLossConfig
from rlpost.recipe.sampler import PluginSamplerConfig
from rlpost.recipe.schema import Recipe
from rlpost.recipe.stages import AnyStage, RlStage, TrainedStage

_MADE_UP_ROWS = 8
"""Rows of each data set that a plug-in sampler is tried on."""


def plugin_problems(recipe: Recipe) -> list[Problem]:
    """List every plug-in that does not exist, does not take its parameters, or breaks its contract on made-up input."""
    problems: list[Problem] = []
    for index, stage in enumerate(recipe.stages):
        for use in plugins_of(stage):
            try:
                _CHECKS[type(use.section)](use.section, stage)
            except InputError as error:
                problems.append(Problem(path=("stages", index, *use.path), text=str(error)))
    return problems


def _check_advantage(config: AdvantageConfig, stage: AnyStage) -> None:
    try_advantage(plugin_advantage(config))


def _check_loss(config: PluginLossConfig, stage: RlStage) -> None:
    from rlpost.losses.plugin_surrogate import plugin_surrogate, try_surrogate

    surrogate = plugin_surrogate(config)
    missing = sorted(surrogate.columns - stage.fills_columns)
    if missing:
        raise PluginError(
            f"the loss {config.kind} must find every column that it reads; this stage does not fill in "
            f"{', '.join(missing)}: it fills in {', '.join(sorted(stage.fills_columns))}, and with kl.coefficient "
            "above 0 also reference_logprobs_T, with kind: ppo also returns_T and old_values_T"
        )
    try_surrogate(surrogate)


def _check_sampler(config: PluginSamplerConfig, stage: TrainedStage) -> None:
    rows = SampledRows([f"{name}/{row}" for name in stage.data for row in range(_MADE_UP_ROWS)])
    # Not a whole epoch, after which a sampler that forgets its place would be right by chance.
    try_sampler(config, rows, rows_per_step=len(rows.ids) - 1, scored=stage.scores_rows)


_CHECKS = cast(
    "Mapping[type[BaseModel], Callable[[Any, Any], None]]",
    {AdvantageConfig: _check_advantage, PluginLossConfig: _check_loss, PluginSamplerConfig: _check_sampler},
)
"""Section that may name a plug-in -> the function that loads and tests the plug-in for its stage."""
