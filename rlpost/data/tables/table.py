"""The interface of all tables, and the row that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class NumberedRow(NamedTuple):
    """A row and its position in the source, counted from 0."""

    number: int
    columns: Mapping[str, Any]


class Table(Protocol):
    """The rows of one source, which other processes can open too: a table can be pickled."""

    identity: str
    """A hash of the content."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def read(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """Return the rows with these numbers, in this order.

        Raises:
            DataError: a row is broken; the message names its place.
        """
        ...

    def place_of(self, number: int) -> str:
        """Return where a person finds the row, for example `train.jsonl:18`."""
        ...
