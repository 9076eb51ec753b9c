"""A document as a tree of plain values, each with the file and line where it was written."""

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
    """The place where a value was written."""

    source: str
    """A file or the `--set` option, as a person would recognise it."""
    line: int | None
    """Line number from 1; None for an option."""
    folder: Path
    """The folder to which a relative path in the value refers."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A value, with the place where it was written."""

    value: Mapping[str, Node] | list[Node] | Scalar
    where: Where
    """The line of its key, or of the value itself in a list."""
    template: str | None = None
    """The text as written, if it contained `${env:...}`; it is shown and stored instead of the value."""


def plain(node: Node) -> Any:
    """Convert the tree to dictionaries, lists and scalars."""
    if isinstance(node.value, Mapping):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def child(node: Node, part: str | int) -> Node | None:
    """Return the value under a key or list index, if it exists."""
    if isinstance(node.value, Mapping):
        return node.value.get(str(part))
    if isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def nearest_node(root: Node, path: KeyPath) -> Node:
    """Return the value at the path; if the path ends early, the last value on the way."""
    node = root
    for part in path:
        below = child(node, part)
        if below is None:
            return node
        node = below
    return node
