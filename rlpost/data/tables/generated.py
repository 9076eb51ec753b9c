"""Rows that a task of reasoning-gym made; there are few enough of them to stay in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlpost.data.tables.table import NumberedRow


class GeneratedTable:
    """Rows in memory.

    Args:
        rows: The rows as plain data.
        shown: The source as the recipe names it.
        identity: Everything that decides the rows.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, shown: str, identity: str) -> None:
        self._rows, self._shown, self.identity = rows, shown, identity

    def __len__(self) -> int:
        """See `Table`."""
        return len(self._rows)

    def read(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """See `Table`."""
        return [NumberedRow(number, self._rows[number]) for number in numbers]

    def place_of(self, number: int) -> str:
        """See `Table`."""
        return f"{self._shown}, row {number}"
