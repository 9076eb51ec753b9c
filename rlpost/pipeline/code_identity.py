"""Identifies the behaviour of a recipe's own code: its source, the source of its helpers, versions of libraries.

Imports anywhere in the source are found by reading it; nothing is run. A module of the same package is identified by
its source, and so is every module that no installed distribution provides; their imports are followed. An installed
library is identified by its version. Python's standard library and rlpost itself are covered elsewhere. Modules whose
names are built at run time (`importlib.import_module(text)`) and data files cannot be found: raise the verifier's
`version` when these change.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, NamedTuple

from rlpost.pipeline.artifacts import bytes_hash
from rlpost.plugins import bind_catalogue, names_file, split

Identity = Mapping[str, str]
"""Module -> hash of its source; distribution -> its version."""
_START = "itself"
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))


class _Source(NamedTuple):
    file: Path
    package: str
    """The package that relative imports refer to; empty for a file outside any package."""


def code_of_function(function: Callable[..., Any]) -> Identity:
    """Identify the code behind a function; empty for one without Python source."""
    plain = inspect.unwrap(function)
    try:
        file = inspect.getsourcefile(plain)
    except TypeError:
        return {}  # Built into Python, or not a function at all.
    if file is None or not Path(file).is_file():
        return {}
    module = sys.modules.get(plain.__module__)
    return _code_of(_Source(Path(file), getattr(module, "__package__", None) or ""))


def code_of_reference(reference: str) -> Identity:
    """Identify the code behind `module:name` or `path/to/file.py:name`.

    Raises:
        FileNotFoundError: the source does not exist.
    """
    place = split(reference).module
    if names_file(reference):
        return _code_of(_Source(Path(place), ""))
    spec = _spec(place)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise FileNotFoundError(f"the module {place} has no source file")
    return _code_of(_Source(Path(spec.origin), spec.parent or ""))


@cache
def library_versions(top: str) -> Identity:
    """Return distribution -> version, for those that provide an importable package; empty if none does."""
    return {name: version(name) for name in _distributions().get(top, ())}


def _code_of(start: _Source) -> Identity:
    own = start.package.partition(".")[0]
    identity: dict[str, str] = {}
    waiting = {_START: start}
    while waiting:
        name, source = waiting.popitem()
        content = source.file.read_bytes()
        identity[name] = bytes_hash(content)
        for imported in _imports(content, source.package):
            top = imported.partition(".")[0]
            if top in sys.stdlib_module_names or (top == "rlpost" and own != "rlpost"):
                continue
            if top != own and _is_library(top):
                identity |= library_versions(top)
                continue
            for module, found in _sources(imported):
                if module not in identity:
                    waiting[module] = found
    return identity


@cache
def _imports(content: bytes, package: str) -> frozenset[str]:
    """Return the full names of everything that a source imports; the last part may be an object instead of a module."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()  # The import itself will report the error.
    return frozenset(name for node in ast.walk(tree) for name in _imported(node, package))


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".") if node.level else []
        parts = parts[: len(parts) - node.level + 1] if node.level else parts
        base = ".".join([*parts, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names if base)


def _sources(imported: str) -> Iterator[tuple[str, _Source]]:
    """Yield the modules that an import runs: each package on the way, and the module itself."""
    parts = imported.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        spec = _spec(name)
        if spec is None:
            return
        if spec.origin is not None and Path(spec.origin).suffix == ".py":
            yield name, _Source(Path(spec.origin), spec.parent or "")


def _spec(module: str) -> ModuleSpec | None:
    """Find where a module would be loaded from, without running packages to look inside them."""
    bind_catalogue()
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        return None
    for depth in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = ".".join([top, *rest[: depth + 1]])
        spec = _found_in(name, list(spec.submodule_search_locations))
    return spec


def _found_in(module: str, locations: list[str]) -> ModuleSpec | None:
    """Ask every finder, since that of an editable installation knows modules that lie outside of these locations."""
    specs = (finder.find_spec(module, locations, None) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


@cache
def _is_library(top: str) -> bool:
    """Whether an installed distribution provides the package, or nothing of this name exists."""
    spec = _spec(top)
    if spec is None:
        return True
    places = [spec.origin, *(spec.submodule_search_locations or ())]
    return any(Path(place).is_relative_to(folder) for place in places if place for folder in _LIBRARIES)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
