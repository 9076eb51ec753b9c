"""The rows that a sampler chooses from, and the fingerprint that ties its state to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlpost.data.row_ids import RowIds
from rlpost.errors import DataError

_KIND, _FINGERPRINT = "kind", "rows"


@dataclass(frozen=True)
class SampledRows:
    """The ids of a stage's rows, in the order of their indices; each begins with `<data set>/<row>`."""

    ids: Sequence[str]

    def by_dataset(self) -> dict[str, NDArray[np.int64]]:
        """Return data set -> the indices of its rows."""
        return RowIds.of(self.ids).by_dataset()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all ids and their order."""
        return RowIds.of(self.ids).fingerprint()

    def tied(self, state: Mapping[str, Any], *, kind: str) -> dict[str, Any]:
        """Return a sampler's state with its kind and the fingerprint of its rows added."""
        return {_KIND: kind, _FINGERPRINT: self.fingerprint, **state}

    def check_tied(self, state: Mapping[str, Any], *, kind: str) -> None:
        """Check that a state was saved by this kind of sampler over these rows.

        Raises:
            DataError: it was saved by another kind, or over other rows.
        """
        found = f"a {state.get(_KIND)} sampler over rows {state.get(_FINGERPRINT)}"
        wanted = f"a {kind} sampler over rows {self.fingerprint}"
        if found != wanted:
            raise DataError(
                f"the saved state of the sampler must be that of {wanted} ({len(self.ids)} of them); found the state "
                f"of {found}: give the stage the data that it began with, or remove its checkpoints to start it over"
            )
