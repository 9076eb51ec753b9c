"""A surrogate that a recipe names as `module:name` or `path/to/file.py:name`; its contract is checked.

Learner ranks are separate processes. They receive the name, the hash of the source and the parameters, and each rank
loads the source itself. A rank rejects a source that differs from the one that was checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from typing_extensions import TypeIs

from rlpost.errors import InputError, PluginError
from rlpost.interfaces import LossInputs
from rlpost.losses.authoring import AuthoredSurrogate
from rlpost.losses.surrogate import SurrogateTokens
from rlpost.plugins import PluginKind, load_plugin, plugin_identity
from rlpost.recipe.rl import PluginLossConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginSurrogate:
    """A picklable surrogate: each process that calls it loads the function itself."""

    reference: str
    identity: str
    """Hash of the source that was checked."""
    params: Mapping[str, Any]
    columns: frozenset[str]

    def __call__(self, inputs: LossInputs, *, log_ratios_T: Tensor) -> SurrogateTokens:
        """Call the user's function.

        Raises:
            PluginError: it returned something other than one loss and one flag per token, or its source differs from
                the one that was checked.
        """
        tokens = _loaded(self.reference, self.identity)(inputs, log_ratios_T=log_ratios_T, **self.params)
        found = _fault(tokens, shape=log_ratios_T.shape)
        if found is not None:
            raise PluginError(
                f"the loss {self.reference} must return SurrogateTokens(losses_T, clipped_T), a number and a boolean "
                f"for each of the {len(log_ratios_T)} tokens; found {found}"
            )
        return tokens


def plugin_surrogate(config: PluginLossConfig) -> PluginSurrogate:
    """Load the surrogate that a recipe names, with its parameters.

    Raises:
        PluginError: it does not exist, is not a surrogate, or does not take these parameters.
    """
    found, reference = load_plugin(config.kind, _SURROGATES)
    return PluginSurrogate(
        reference=reference,
        identity=plugin_identity(reference),
        params=found.validated(config.params),
        columns=found.columns,
    )


def try_surrogate(surrogate: PluginSurrogate) -> None:
    """Call the function on a made-up micro-batch of two rows and on one without tokens, and check its contract.

    Raises:
        PluginError: the function raised, or its losses are not finite or have no gradient.
    """
    for lengths in ((3, 2), (0, 0)):
        inputs = _made_up(lengths, surrogate.columns)
        log_ratios_T = inputs.logprobs_T - torch.linspace(-2.2, -0.2, sum(lengths))
        try:
            tokens = surrogate(inputs, log_ratios_T=log_ratios_T)
        except InputError:
            raise
        except Exception as error:
            raise PluginError(
                f"the loss {surrogate.reference} must take any number of tokens, none too; on {sum(lengths)} made-up "
                f"ones it raised {type(error).__name__}: {error!s:.300}"
            ) from error
        if not lengths[0]:
            return
        if not tokens.losses_T.isfinite().all():
            raise PluginError(
                f"the loss {surrogate.reference} must give every token a finite loss; found {tokens.losses_T.tolist()} "
                "for made-up tokens with ratios of 0.8 to 1.2"
            )
        if not tokens.losses_T.requires_grad:
            raise PluginError(
                f"the loss {surrogate.reference} must have a gradient; found none: compute losses_T from log_ratios_T "
                "or inputs.logprobs_T"
            )
        tokens.losses_T.sum().backward()
        gradient_T = inputs.logprobs_T.grad
        if gradient_T is None or not gradient_T.isfinite().all():
            found = "none" if gradient_T is None else gradient_T.tolist()
            raise PluginError(
                f"the loss {surrogate.reference} must have a finite gradient in the log-probabilities; found {found}"
            )


def _made_up(lengths: tuple[int, ...], columns: frozenset[str]) -> LossInputs:
    """Make rows of these lengths, with advantages of both signs, and log-probabilities close to those of the
    columns.
    """
    count = sum(lengths)
    return LossInputs(
        logprobs_T=torch.linspace(-2.0, -0.4, count).requires_grad_(),
        weights_T=torch.ones(count),
        columns={name: torch.linspace(-1.0, 0.5, count) for name in columns},
        values_T=None,
        row_T=torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
        row_count=len(lengths),
        component="made-up",
    )


def _is_surrogate(found: object) -> TypeIs[AuthoredSurrogate]:
    return isinstance(found, AuthoredSurrogate)


_SURROGATES = PluginKind(
    noun="loss",
    expected="a surrogate",
    remedy="decorate it with @surrogate of rlpost.losses.authoring",
    is_one=_is_surrogate,
    error=PluginError,
)


@cache
def _loaded(reference: str, identity: str) -> AuthoredSurrogate:
    """Load the surrogate once per process, so that an edit of the file does not affect a running run."""
    found, place = load_plugin(reference, _SURROGATES)
    if plugin_identity(place) != identity:
        raise PluginError(
            f"the source of the loss {reference} must be the one that was checked at the start of the run, in every "
            "process and on every node; found another: copy the file to all nodes, and start the run again"
        )
    return found


def _fault(tokens: object, *, shape: torch.Size) -> str | None:
    """Describe what is wrong with a surrogate's result."""
    if not isinstance(tokens, SurrogateTokens):
        return f"a {type(tokens).__name__}"
    for name, values, wanted in (("losses_T", tokens.losses_T, "floats"), ("clipped_T", tokens.clipped_T, "booleans")):
        if not isinstance(values, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance] - it is somebody else's code
            return f"{name} of type {type(values).__name__}"
        if values.shape != shape:
            return f"{name} of shape {list(values.shape)}"
        if values.is_floating_point() != (wanted == "floats") or values.is_complex():
            return f"{name} of dtype {values.dtype}"
    return None
