"""One loss for each component of a batch, for example a policy loss and a cross-entropy of demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlpost.errors import RecipeError
from rlpost.interfaces import LossFn, LossInputs, LossSums


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentLosses:
    """Implements `interfaces.LossFn` for batches with several components; the batch gives weights and denominators."""

    losses: Mapping[str, LossFn]
    """Component -> its loss."""

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`; these are the columns of all losses together."""
        return frozenset[str]().union(*(loss.columns for loss in self.losses.values()))

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the loss of the component that the tokens belong to.

        Raises:
            RecipeError: there is no loss for the component.
        """
        if inputs.component not in self.losses:
            raise RecipeError(
                f"every component of a batch must have a loss; {inputs.component} has none, losses are given for "
                f"{', '.join(self.losses)}: add one, or leave the component out"
            )
        return self.losses[inputs.component](inputs)
