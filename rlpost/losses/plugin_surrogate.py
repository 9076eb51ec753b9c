"""A surrogate that a recipe names as `module:name` or `path/to/file.py:name`; its contract is checked.

Learner ranks are separate processes. They receive the name, the hash of the source and the parameters, and each rank
loads the source itself. A rank rejects a source that differs from the one that was checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from typing_extensions import TypeIs

from rlpost.errors import InputError, PluginError
from rlpost.interfaces import LossInputs
from rlpost.losses.authoring import AuthoredSurrogate
from rlpost.losses.surrogate import SurrogateTokens
from rlpost.plugins import ERRORS_OF_AUTHORS, PluginKind, load_plugin, plugin_identity, raised
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
            PluginError: it raised, it returned something other than one loss and one flag per token, or its source
                differs from the one that was checked.
        """
        function = _loaded(self.reference, self.identity)
        try:
            tokens = function(inputs, log_ratios_T=log_ratios_T, **self.params)
        except InputError:
            raise
        except ERRORS_OF_AUTHORS as error:
            raise PluginError(
                f"the loss {self.reference} must take any number of tokens, none too; on {len(log_ratios_T)} it raised "
                f"{raised(error, self.reference)}"
            ) from error
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
    """Call the function on a made-up micro-batch of two rows, on each of them alone, and on a micro-batch without
    tokens, and check its contract.

    Raises:
        PluginError: the function raised, its losses are not finite, have no gradient or depend on the other rows, or it
            changes its inputs.
    """
    inputs = _made_up((3, 2), surrogate.columns)
    found = _losses(surrogate, inputs)
    if not found.isfinite().all():
        raise PluginError(
            f"the loss {surrogate.reference} must give every token a finite loss; found {found.tolist()} for made-up "
            "tokens with ratios of 0.8 to 1.2"
        )
    if not found.requires_grad:
        raise PluginError(
            f"the loss {surrogate.reference} must have a gradient; found none: compute losses_T from log_ratios_T or "
            "inputs.logprobs_T"
        )
    found.sum().backward()
    gradient_T = inputs.logprobs_T.grad
    if gradient_T is None or not gradient_T.isfinite().all():
        words = "none" if gradient_T is None else gradient_T.tolist()
        raise PluginError(
            f"the loss {surrogate.reference} must have a finite gradient in the log-probabilities; found {words}"
        )
    _losses(surrogate, _made_up((0, 0), surrogate.columns))
    untouched = _made_up((3, 2), surrogate.columns)
    if any(not torch.equal(values_T, untouched.columns[name]) for name, values_T in inputs.columns.items()):
        raise PluginError(
            f"the loss {surrogate.reference} must leave its inputs as they are; it changes a column in place: use "
            "operations that make a new tensor, such as `mul` instead of `mul_`"
        )
    alone = torch.cat([_losses(surrogate, _row_alone(untouched, row)) for row in range(untouched.row_count)])
    if not torch.allclose(alone, found, rtol=1e-4, atol=1e-6):
        raise PluginError(
            f"the loss {surrogate.reference} must give a response the same loss whatever shares its micro-batch, which "
            f"is cut by size; found {found.tolist()} together and {alone.tolist()} alone: use row_sums and row_means "
            "in place of a sum, mean or maximum over all tokens"
        )


def _losses(surrogate: PluginSurrogate, inputs: LossInputs) -> Tensor:
    """Call the function with ratios of 0.8 to 1.2."""
    log_ratios_T = inputs.logprobs_T - (inputs.logprobs_T.detach() * 1.25 + 0.3)
    return surrogate(inputs, log_ratios_T=log_ratios_T).losses_T


def _row_alone(inputs: LossInputs, row: int) -> LossInputs:
    """Return the tokens of one row as a micro-batch of their own."""
    chosen_T = inputs.row_T == row
    return replace(
        inputs,
        logprobs_T=inputs.logprobs_T.detach()[chosen_T].requires_grad_(),
        weights_T=inputs.weights_T[chosen_T],
        columns={name: values_T[chosen_T] for name, values_T in inputs.columns.items()},
        row_T=torch.zeros(int(chosen_T.sum()), dtype=torch.int64),
        row_count=1,
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
