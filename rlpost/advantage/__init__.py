"""Turns the scores of a step into an advantage for every token. Pure numpy; each scheme has its own file."""

from __future__ import annotations

from collections.abc import Mapping

from rlpost.advantage.group_mean import dr_grpo, grpo
from rlpost.advantage.leave_one_out import leave_one_out
from rlpost.advantage.plugin_advantage import plugin_advantage
from rlpost.advantage.reinforce_plus_plus import reinforce_plus_plus, reinforce_plus_plus_baseline
from rlpost.interfaces import AdvantageFn
from rlpost.recipe.rl import AdvantageConfig

_FUNCTIONS: Mapping[str, AdvantageFn] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "leave_one_out": leave_one_out,
    "reinforce_plus_plus": reinforce_plus_plus,
    "reinforce_plus_plus_baseline": reinforce_plus_plus_baseline,
}


def advantage_of(config: AdvantageConfig) -> AdvantageFn:
    """Return the function that a recipe's `advantage:` names.

    Scores from `normalise_then_sum` are already normalised, so `grpo` does not divide them by their standard deviation
    again.

    Raises:
        PluginError: a user's function does not exist, or does not take its parameters.
    """
    if config.scheme not in _FUNCTIONS:
        return plugin_advantage(config)
    if config.combine == "normalise_then_sum" and config.scheme == "grpo":
        return dr_grpo
    return _FUNCTIONS[config.scheme]
