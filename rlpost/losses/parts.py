"""One loss for each component of a batch, such as a policy loss beside the cross-entropy of demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlpost.errors import RecipeError
from rlpost.interfaces import LossFn, LossInputs, LossSums


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentLosses:
    """Implements `interfaces.LossFn` for batches of several components; weights and denominators are the batch's."""

    losses: Mapping[str, LossFn]
    """Component -> its loss."""

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`: the columns of all losses together."""
        return frozenset[str]().union(*(loss.columns for loss in self.losses.values()))

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """The loss of the component that the tokens belong to.

        Raises:
            RecipeError: no loss is given for it.
        """
        if inputs.component not in self.losses:
            raise RecipeError(
                f"every component of a batch must have a loss; {inputs.component} has none, losses are given for "
                f"{', '.join(self.losses)}: add one, or leave the component out"
            )
        return self.losses[inputs.component](inputs)
