"""A document made of layers: the file that it extends, the file itself, and the `--set` options on top.

Mappings merge key by key, and everything else is replaced, with two exceptions. If the lower layer has the list
`stages`, an upper layer may give a mapping of stage name -> changes (`stages: {grpo: {steps: 5}}`). If the `kind` of a
section of a stage changes, such as `loss`, the section is replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlpost.errors import RecipeError
from rlpost.recipe.messages import found_words
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.paths import exists
from rlpost.recipe.problems import Problem
from rlpost.recipe.yaml_reader import parse_yaml
from rlpost.recipe.yaml_tree import KeyPath, Node, Where, child

_PATCHED_BY_NAME: KeyPath = ("stages",)
_SUFFIXES = (".yaml", ".yml")
_MOST_BYTES = 256 << 10
"""Largest file. Reading it takes a second, and it is ten times the longest recipe that anyone should have to review."""


class SourceFile(NamedTuple):
    """A file that is part of a document."""

    path: Path
    sha256: str


class Document(NamedTuple):
    """The merged layers."""

    root: Node
    sources: tuple[SourceFile, ...]
    """The file itself first, then the one that it extends, and so on."""
    problems: list[Problem]


def read_document(path: Path, *, overrides: Sequence[str]) -> Document:
    """Read a file, the files that it extends, and `key=value` overrides.

    Raises `RecipeError` if no document results: for a missing file, text that is not YAML, a cycle of `extends`, or an
    override without `=`. All other mistakes are returned as problems.
    """
    document = _read_with_base(path, asked_by=None, chain=())
    problems = list(document.problems)
    root = document.root
    for override in overrides:
        patch = _override(override, root=root, problems=problems)
        root = merged(root, patch, path=(), problems=problems)
    return Document(root=root, sources=document.sources, problems=problems)


def _read_with_base(path: Path, *, asked_by: Where | None, chain: tuple[Path, ...]) -> Document:
    resolved = path.resolve()
    if resolved in chain:
        circle = " -> ".join(step.name for step in (*chain[chain.index(resolved) :], resolved))
        raise RecipeError(
            f"{asked_by}: `extends` must not lead back to the same file, found {circle}: remove one of them"
        )
    top, source = _read_file(path, asked_by=asked_by)
    assert isinstance(top.root.value, Mapping)
    values = dict(top.root.value)
    extends = values.pop("extends", None)
    own = Node(value=values, where=top.root.where)
    if extends is None:
        return Document(root=own, sources=(source,), problems=top.problems)
    if not isinstance(extends.value, str):
        raise RecipeError(f"{extends.where}: extends: expected the path of one YAML file, found {found_words(extends)}")
    base = _read_with_base(path.parent / extends.value, asked_by=extends.where, chain=(*chain, resolved))
    problems = [*base.problems, *top.problems]
    root = merged(base.root, own, path=(), problems=problems)
    return Document(root=root, sources=(source, *base.sources), problems=problems)


class _File(NamedTuple):
    root: Node
    problems: list[Problem]


def _read_file(path: Path, *, asked_by: Where | None) -> tuple[_File, SourceFile]:
    prefix = "" if asked_by is None else f"{asked_by}: extends: "
    # A file of any other kind is not opened: its lines would be shown as unknown keys, and a pipe may never end.
    if asked_by is not None and path.suffix not in _SUFFIXES:
        raise RecipeError(f"{prefix}must name a file that ends in .yaml or .yml; found {path}")
    if exists(path) and not path.is_file():
        raise RecipeError(f"{prefix}{path} must be a regular file; give the path of a YAML file")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecipeError(f"{prefix}{path} cannot be read: {error}; give the path of a YAML file") from error
    name = shown_file(path)
    if len(content) > _MOST_BYTES:
        raise RecipeError(
            f"{prefix}{name}: a YAML file may have {_MOST_BYTES >> 10} KiB: keep data in files of its own"
        )
    try:
        text = content.decode("utf-8-sig")  # Some editors begin a file with a byte order mark.
    except UnicodeDecodeError as error:
        raise RecipeError(f"{name}: must be UTF-8 text, found byte {content[error.start]:#04x}") from error
    root, problems = parse_yaml(text, where=Where(source=name, line=1, folder=path.resolve().parent))
    if not isinstance(root.value, Mapping):
        raise RecipeError(f"{name}: must be a mapping of keys such as `name:`, found {type(root.value).__name__}")
    return _File(root, problems), SourceFile(path.resolve(), hashlib.sha256(content).hexdigest())


def shown_file(path: Path) -> str:
    """Return the path relative to the working directory, if it is below it."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(path)


def merged(base: Node, patch: Node, *, path: KeyPath, problems: list[Problem]) -> Node:
    """Merge `patch` over `base`."""
    if path == _PATCHED_BY_NAME and isinstance(base.value, list) and isinstance(patch.value, Mapping):
        return _patched_by_name(base, patch, path=path, problems=problems)
    if not isinstance(base.value, Mapping) or not isinstance(patch.value, Mapping):
        return patch
    if len(path) > len(_PATCHED_BY_NAME) + 1 and _changes_kind(base, patch):
        return patch
    values = dict(base.value)
    for key, node in patch.value.items():
        values[key] = merged(values[key], node, path=(*path, key), problems=problems) if key in values else node
    return Node(value=values, where=patch.where if path else base.where)


def _changes_kind(base: Node, patch: Node) -> bool:
    lower, upper = child(base, "kind"), child(patch, "kind")
    return lower is not None and upper is not None and lower.value != upper.value


def _patched_by_name(base: Node, patch: Node, *, path: KeyPath, problems: list[Problem]) -> Node:
    assert isinstance(base.value, list) and isinstance(patch.value, Mapping)
    items = list(base.value)
    index_of = {name: index for index, item in enumerate(items) if (name := _entry_name(item)) is not None}
    for name, changes in patch.value.items():
        if name in index_of:
            index = index_of[name]
            items[index] = merged(items[index], changes, path=(*path, index), problems=problems)
        else:
            text = f"no such entry to change; {nearest_words(name, index_of)}"
            problems.append(Problem(path=(*path, name), text=text, where=changes.where))
    return Node(value=items, where=base.where)


def _entry_name(item: Node) -> str | None:
    name = item.value.get("name") if isinstance(item.value, Mapping) else None
    return name.value if name is not None and isinstance(name.value, str) else None


def _named_children(node: Node | None) -> dict[str, Node]:
    """Return the names that may follow a dot: the keys of a mapping, or the names of a list's entries."""
    if node is None:
        return {}
    if isinstance(node.value, Mapping):
        return dict(node.value)
    if isinstance(node.value, list):
        return {name: item for item in node.value if (name := _entry_name(item)) is not None}
    return {}


def _override(text: str, *, root: Node, problems: list[Problem]) -> Node:
    dotted, equals, value_text = text.partition("=")
    if not equals or not dotted.strip():
        raise RecipeError(f"--set expects key=value, for example stages.grpo.steps=5; found {text!r}")
    where = Where(source=f"--set {dotted.strip()}", line=None, folder=Path.cwd())
    node, found = parse_yaml(value_text, where=where)
    keys = _split_key(dotted.strip(), root=root)
    problems.extend(Problem(path=(*keys, *problem.path), text=problem.text, where=where) for problem in found)
    for key in reversed(keys):
        node = Node(value={key: node}, where=where)
    return node


def _split_key(dotted: str, *, root: Node) -> list[str]:
    """Split at dots, but keep a key that contains dots together if the document has it."""
    parts = dotted.split(".")
    keys: list[str] = []
    node: Node | None = root
    while parts:
        known = _named_children(node)
        count = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 1)
        keys.append(".".join(parts[:count]))
        parts = parts[count:]
        node = known.get(keys[-1])
    return keys
