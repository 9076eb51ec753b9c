"""Tables: the rows of a source, by number, from memory-mapped files. One file for each way of storing rows.

A table holds no row in memory: a process opens it, reads the rows that it needs, and forgets them.
"""

from __future__ import annotations

from rlpost.data.tables.table import NumberedRow, Table

__all__ = ["NumberedRow", "Table"]
