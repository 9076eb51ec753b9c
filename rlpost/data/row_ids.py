"""The ids of many rows, held as numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowIds(Sequence[str]):
    """Ids of the form `<data set>/<row>`, in the order of their indices.

    Args:
        names: The data sets.
        which: Index into `names` for each row; shape [rows].
        rows: The row in its data set: numbers of shape [rows], or texts.
        ending: A text behind every id, for example `, response`.
    """

    def __init__(
        self, names: Sequence[str], *, which: NDArray[Any], rows: NDArray[np.int64] | Sequence[str], ending: str = ""
    ) -> None:
        assert len(which) == len(rows), "every row has a data set"
        self._names, self._which, self._rows, self._ending = tuple(names), which, rows, ending

    @classmethod
    def of(cls, ids: Sequence[str]) -> RowIds:
        """Take ids as texts; the data set is what stands before the first `/`."""
        if isinstance(ids, RowIds):
            return ids
        parts = [row_id.partition("/") for row_id in ids]
        names = list(dict.fromkeys(name for name, _, _ in parts))
        place = {name: index for index, name in enumerate(names)}
        which = np.array([place[name] for name, _, _ in parts], np.uint16)
        return cls(names, which=which, rows=[row for _, _, row in parts])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._which)

    def __getitem__(self, index: Any) -> Any:
        """Return one id, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return f"{self._names[int(self._which[index])]}/{self._rows[index]}{self._ending}"

    def by_dataset(self) -> dict[str, NDArray[np.int64]]:
        """Data set -> the indices of its rows."""
        found = {name: np.flatnonzero(self._which == place) for place, name in enumerate(self._names)}
        return {name: indices for name, indices in found.items() if len(indices)}

    def fingerprint(self) -> str:
        """Return a hash of all ids and their order."""
        digest = hashlib.blake2b(digest_size=8)
        used = [self._names[place] for place in np.unique(self._which).tolist()]
        digest.update("\0".join([self._ending, *used]).encode())
        digest.update(np.unique(self._which, return_inverse=True)[1].astype(np.int64).tobytes())
        if isinstance(self._rows, np.ndarray):
            digest.update(self._rows.tobytes())
        else:
            digest.update("\0".join(self._rows).encode())
        return digest.hexdigest()
