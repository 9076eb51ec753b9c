"""The decorator for authors of a loss: `@surrogate` around a function of one micro-batch's tokens.

    @surrogate(columns=["advantages_T"])
    def mine(inputs: LossInputs, *, log_ratios_T: Tensor, cap: float = 5.0) -> SurrogateTokens:
        ...

The function returns the loss of every token, without weights. Off-policy correction, KL penalty, critic and
normalisation are composed around it (`losses.policy_loss`), as around the surrogates that come with rlpost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from torch import Tensor

from rlpost.errors import PluginError
from rlpost.interfaces import LossInputs
from rlpost.losses.ratios import ratios_of
from rlpost.losses.rows import row_means, row_sums
from rlpost.losses.surrogate import SurrogateTokens, clip_ratios
from rlpost.parameters import parameter_model, validated

Function = Callable[..., SurrogateTokens]


@dataclass(frozen=True, kw_only=True)
class AuthoredSurrogate:
    """A surrogate as its author wrote it, before a recipe sets its parameters. `@surrogate` makes it."""

    name: str
    function: Function
    columns: frozenset[str]
    """The columns of `LossInputs` that the function reads, besides `logprobs_T` and `weights_T`."""
    parameters: type[BaseModel]
    """A pydantic model of the parameters that a recipe may set."""

    def validated(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check the types of the given parameters and fill in the defaults of the others.

        Raises:
            PluginError: a parameter does not exist or has the wrong type.
        """
        return validated(self.parameters, params, name=self.name, error=PluginError)

    def __call__(self, inputs: LossInputs, *, log_ratios_T: Tensor, **params: Any) -> SurrogateTokens:
        """Call the function."""
        return self.function(inputs, log_ratios_T=log_ratios_T, **params)


def surrogate(*, columns: Collection[str]) -> Callable[[Function], AuthoredSurrogate]:
    """Turn a function into a surrogate that a recipe's `loss.kind` can name.

    Args:
        columns: The columns that the function reads, such as `advantages_T`; a stage that does not fill one of them is
            rejected before it starts.

    Raises:
        PluginError: `columns` is not a list of names, or a parameter of the function is not keyword-only with a type
            and a default.
    """
    if isinstance(columns, str):
        raise PluginError(f"columns of @surrogate must be a list of names; found the text {columns!r}: write it in []")

    def decorate(function: Function) -> AuthoredSurrogate:
        name = function.__name__
        return AuthoredSurrogate(
            name=name,
            function=function,
            columns=frozenset(columns),
            parameters=parameter_model(function, name=name, given=("log_ratios_T",), error=PluginError),
        )

    return decorate


__all__ = [
    "AuthoredSurrogate",
    "LossInputs",
    "SurrogateTokens",
    "clip_ratios",
    "ratios_of",
    "row_means",
    "row_sums",
    "surrogate",
]
