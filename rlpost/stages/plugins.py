"""The plug-ins that a recipe's stages name: loaded and tried before anything starts. Torch comes with a loss only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from rlpost.advantage.plugin_advantage import plugin_advantage, tried
from rlpost.errors import InputError
from rlpost.recipe.plugin_reference import plugins_of
from rlpost.recipe.problems import Problem
from rlpost.recipe.rl import AdvantageConfig, PluginLossConfig
from rlpost.recipe.schema import Recipe


def plugin_problems(recipe: Recipe) -> list[Problem]:
    """Every plug-in that does not exist, does not take its parameters, or breaks its contract on made-up input."""
    problems: list[Problem] = []
    for index, stage in enumerate(recipe.stages):
        for use in plugins_of(stage):
            try:
                _CHECKS[type(use.section)](use.section)
            except InputError as error:
                problems.append(Problem(path=("stages", index, *use.path), text=str(error)))
    return problems


def _check_advantage(config: AdvantageConfig) -> None:
    tried(plugin_advantage(config))


def _check_loss(config: PluginLossConfig) -> None:
    from rlpost.losses.plugin_surrogate import plugin_surrogate

    plugin_surrogate(config)


_CHECKS = cast(
    "Mapping[type[BaseModel], Callable[[Any], None]]",
    {AdvantageConfig: _check_advantage, PluginLossConfig: _check_loss},
)
"""Section that may name a plug-in -> what loads and tries it."""
