"""An advantage that a recipe names as `module:name` or `path/to/file.py:name`; its contract is checked at every
step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeIs

from rlpost.errors import InputError, PluginError
from rlpost.interfaces import GroupScores
from rlpost.parameters import parameter_model, validated
from rlpost.plugins import ERRORS_OF_AUTHORS, PluginKind, load_plugin, raised
from rlpost.recipe.rl import AdvantageConfig

Function = Callable[..., object]


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginAdvantage:
    """An `interfaces.AdvantageFn` around the user's function."""

    reference: str
    function: Function
    params: Mapping[str, Any]

    def __call__(self, groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
        """Call the user's function.

        Raises:
            PluginError: it raised, or returned something other than a finite number for each token.
        """
        try:
            answer = self.function(groups, **self.params)
        except InputError:
            raise
        except ERRORS_OF_AUTHORS as error:
            sizes = ", ".join(str(len(group.scores_G)) for group in groups)
            raise PluginError(
                f"the advantage {self.reference} must take groups of any size, empty ones and ones of equal scores "
                f"too; on groups of {sizes:.200} samples it raised {raised(error, self.reference)}"
            ) from error
        if not isinstance(answer, list | tuple) or len(cast("Sequence[object]", answer)) != len(groups):
            raise self._refusal(f"one list for each of the {len(groups)} groups", _sized(answer))
        return [
            self._of_group(of_group, group, number)
            for number, (of_group, group) in enumerate(zip(cast("Sequence[object]", answer), groups, strict=True))
        ]

    def _of_group(self, answer: object, group: GroupScores, number: int) -> list[NDArray[np.float64]]:
        if not isinstance(answer, list | tuple) or len(cast("Sequence[object]", answer)) != len(group.scores_G):
            wanted = f"one array for each of the {len(group.scores_G)} samples of group {number}"
            raise self._refusal(wanted, _sized(answer))
        return [
            self._of_sample(values, len(penalties_T), f"sample {sample} of group {number}")
            for sample, (values, penalties_T) in enumerate(
                zip(cast("Sequence[object]", answer), group.penalties_GT, strict=True)
            )
        ]

    def _of_sample(self, values: object, length: int, which: str) -> NDArray[np.float64]:
        wanted = f"an array of shape [{length}], a finite number for each token of {which}"
        if not isinstance(values, np.ndarray):
            raise self._refusal(wanted, f"a {type(values).__name__}")
        found = cast("NDArray[Any]", values)
        if found.shape != (length,) or found.dtype.kind not in "fiu":
            raise self._refusal(wanted, f"an array of shape {list(found.shape)} and type {found.dtype}")
        with np.errstate(over="ignore"):
            # Batches hold float32, in which a number above 3e38 is infinite.
            is_finite_T = np.isfinite(found.astype(np.float32))
        if not is_finite_T.all():
            first = found[~is_finite_T][0]
            raise self._refusal(wanted, f"{first}, which float32 cannot hold" if np.isfinite(first) else str(first))
        return found.astype(np.float64)

    def _refusal(self, wanted: str, found: str) -> PluginError:
        return PluginError(f"the advantage {self.reference} must return {wanted}; found {found}")


def plugin_advantage(config: AdvantageConfig) -> PluginAdvantage:
    """Load the function that a recipe names, with its parameters.

    Raises:
        PluginError: it does not exist, is not a function, or does not take these parameters.
    """
    function, reference = load_plugin(config.scheme, _ADVANTAGES)
    parameters = parameter_model(function, name=reference, given=(), error=PluginError)
    params = validated(parameters, config.params, name=reference, error=PluginError)
    return PluginAdvantage(reference=reference, function=function, params=params)


def try_advantage(advantage: PluginAdvantage) -> None:
    """Call the function on a made-up step and check its contract.

    The step has a group of four samples, a group with equal scores, a group with a single sample, and an empty group.

    Raises:
        PluginError: the function raised, or returned something other than a finite number for each token.
    """
    scores = ([0.0, 1.0, 1.0, 0.5], [1.0, 1.0], [0.25], [])
    groups = [
        GroupScores(
            scores_G=np.array(scores_G, np.float64),
            penalties_GT=[np.full(length, 0.01) for length in range(1, len(scores_G) + 1)],
        )
        for scores_G in scores
    ]
    advantage(groups)


def _is_function(found: object) -> TypeIs[Function]:
    return inspect.isfunction(found)


_ADVANTAGES = PluginKind(
    noun="advantage",
    expected="a function of the scores of all groups",
    remedy="name a function `def f(groups, /, *, ...)` that returns an array for each sample of each group",
    is_one=_is_function,
    error=PluginError,
)


def _sized(answer: object) -> str:
    kind = type(answer).__name__
    return f"a {kind} of {len(cast('Sequence[object]', answer))}" if isinstance(answer, list | tuple) else f"a {kind}"
