"""Reads YAML files into a checked `Recipe` or `ClusterConfig`, with the provenance that a run must record.

The YAML of a recipe and of a cluster file may use:

- `extends: other.yaml`, relative to the file; `rlpost.recipe.layers` describes how the two are merged;
- `${env:NAME}` and `${env:NAME:-default}`; the value is never written to disk, only this text;
- `--set stages.grpo.steps=5` on the command line; its value is read as YAML.

All problems of a document are reported together, each with file, line, key, and remedy.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

import rlpost
from rlpost.recipe.environment import show_openly
from rlpost.recipe.layers import Document, SourceFile, read_document, shown_file
from rlpost.recipe.messages import problems_of
from rlpost.recipe.paths import resolve_paths
from rlpost.recipe.problems import recipe_error
from rlpost.recipe.schema import ClusterConfig, Recipe
from rlpost.recipe.sections import Section
from rlpost.recipe.yaml_tree import Node, child, nearest_node, plain

RESOLVED_FILE = "recipe.resolved.json"
SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True, kw_only=True)
class LoadedRecipe:
    """A recipe that is ready to run, and its provenance."""

    recipe: Recipe
    """The recipe, with absolute paths."""
    sources: tuple[SourceFile, ...]
    """The file itself first, then the one that it extends, and so on."""
    recipe_hash: str
    """sha256 of the recipe with all defaults filled in and its paths as written: neither moving the folder nor writing
    out a default changes it."""
    resolved: dict[str, Any]
    """The recipe as plain data, safe to store: values from the environment appear as `${env:NAME}`."""
    root: Node
    """The merged YAML, used to find the line of a key."""


@dataclass(frozen=True, kw_only=True)
class LoadedCluster:
    """A cluster file, with the lines of its keys."""

    cluster: ClusterConfig
    root: Node


def load_recipe(path: Path, *, overrides: Sequence[str]) -> LoadedRecipe:
    """Read and check a recipe; `overrides` are `key=value` options such as `stages.grpo.steps=5`.

    Raises `RecipeError` with every problem that the file itself shows; `rlpost.recipe.check` checks further.
    """
    document = read_document(path, overrides=overrides)
    for key in ("name", "output"):
        show_openly(nearest_node(document.root, (key,)).template or "")
    written = _validated(Recipe, document, title=shown_file(path))
    recipe = resolve_paths(written, root=document.root)
    return LoadedRecipe(
        recipe=recipe,
        sources=document.sources,
        recipe_hash=_hash(written.model_dump(mode="json")),
        resolved=_without_environment(recipe.model_dump(mode="json"), node=document.root),
        root=document.root,
    )


def load_cluster(path: Path, *, overrides: Sequence[str]) -> LoadedCluster:
    """Read and check a cluster file. Raises `RecipeError`."""
    document = read_document(path, overrides=overrides)
    cluster = _validated(ClusterConfig, document, title=shown_file(path))
    return LoadedCluster(cluster=cluster, root=document.root)


def write_resolved(loaded: LoadedRecipe, directory: Path) -> Path:
    """Write `recipe.resolved.json` into `directory`: the recipe as it runs, and the hashes of its files."""
    content = {
        "rlpost_version": rlpost.__version__,
        "recipe_hash": loaded.recipe_hash,
        "resolved_sha256": _hash(loaded.resolved),
        "sources": [{"path": str(source.path), "sha256": source.sha256} for source in loaded.sources],
        "recipe": loaded.resolved,
    }
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / RESOLVED_FILE
    beside = directory / f"{RESOLVED_FILE}.{os.getpid()}"
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    beside.replace(target)
    return target


def _validated(model: type[SectionT], document: Document, *, title: str) -> SectionT:
    root, problems = document.root, document.problems
    try:
        # JSON in strict mode: the text "on" is not a boolean and the text "5" not a number, but a list is accepted as a
        # tuple.
        section = model.model_validate_json(json.dumps(plain(root)), strict=True)
    except ValidationError as error:
        reported = {problem.path for problem in problems}
        found = [problem for problem in problems_of(error, model=model, root=root) if problem.path not in reported]
        raise recipe_error(root, [*problems, *found], title=title) from error
    if problems:
        raise recipe_error(root, problems, title=title)
    return section


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _without_environment(content: Any, *, node: Node | None) -> Any:
    """Return plain data in which every value from the environment is replaced by its text as written."""
    if node is None:
        return content
    if node.template is not None:
        return node.template
    if isinstance(content, dict):
        return {key: _without_environment(value, node=child(node, key)) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_environment(value, node=child(node, index)) for index, value in enumerate(content)]
    return content
