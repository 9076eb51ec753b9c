"""A document as a tree of plain values, each of which knows the file and line it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the root of a document down to a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Where a value was written."""

    source: str
    """A file, or the `--set` option, as a person would recognise it."""
    line: int | None
    """Counted from 1; None for an option."""
    folder: Path
    """What a relative path in the value is relative to."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A value and where it was written."""

    value: Mapping[str, Node] | list[Node] | Scalar
    where: Where
    """The line of its key, or of itself in a list."""
    template: str | None = None
    """The text as written, where `${env:...}` was replaced; shown and stored in place of the value."""


def plain(node: Node) -> Any:
    """The tree as dictionaries, lists and scalars."""
    if isinstance(node.value, Mapping):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def child(node: Node, part: str | int) -> Node | None:
    """The value under a key or list index, if there is one."""
    if isinstance(node.value, Mapping):
        return node.value.get(str(part))
    if isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def nearest_node(root: Node, path: KeyPath) -> Node:
    """The value at the path, or where the path ends early, the last one on the way."""
    node = root
    for part in path:
        below = child(node, part)
        if below is None:
            return node
        node = below
    return node
