"""Loads a user's own code by its name in a recipe: `module:name`, or `path/to/file.py:name`.

This module loads verifiers, advantages, losses and every other plug-in. A file becomes a module named after its path
and content, which no import statement can reach. It may import installed packages, but not the files beside it. Every
process that uses a plug-in reads the file itself, so every node must have the file at the same path.

The module name `rewards` always stands for the catalogue of verifiers that is installed with rlpost, also where a
project's own `rewards/` or `rewards.py` comes first on `sys.path`. A project names its own by path: `rewards/sums.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType
from typing import Generic, NamedTuple, TypeVar

import xxhash
from typing_extensions import TypeIs

from rlpost.errors import InputError
from rlpost.recipe.nearest import nearest_words

PluginT = TypeVar("PluginT")
FILE_ENDING = ".py"
_CATALOGUE = "rewards"
ERRORS_OF_AUTHORS = (Exception, SystemExit)
"""The errors that a user's code may raise. `sys.exit` is one of them: it must not end a command without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginKind(Generic[PluginT]):
    """A kind of plug-in: which objects belong to it, and the error for an object that does not."""

    noun: str
    """Example: `verifier`."""
    expected: str
    """The noun with its article, or a longer description. Example: `a verifier`."""
    remedy: str
    """Advice to the author of an object that does not belong. Example: `decorate it with @verifier`."""
    is_one: Callable[[object], TypeIs[PluginT]]
    error: type[InputError]


class Place(NamedTuple):
    """The two halves of a reference."""

    module: str
    """An importable module, or the path of a file."""
    name: str
    """Name of the object; empty for a file without `:name`."""


def split(reference: str) -> Place:
    """Split a reference into the module or file, and the name in it."""
    module, colon, name = reference.rpartition(":")
    return Place(module, name) if colon else Place(reference, "")


def names_file(reference: str) -> bool:
    """Whether a reference names a file: `path/to/file.py`, with or without `:name`."""
    return split(reference).module.endswith(FILE_ENDING)


class Loaded(NamedTuple, Generic[PluginT]):
    """A plug-in, and the reference by which another process finds it."""

    plugin: PluginT
    reference: str
    """The reference, with an absolute path if it names a file."""


def load_plugin(reference: str, kind: PluginKind[PluginT]) -> Loaded[PluginT]:
    """Import the object that `module:name` or `path/to/file.py:name` names.

    The name may be left out if the file contains exactly one object of the kind.

    Raises:
        InputError: the module, the file or the name does not exist, does not load, or is of another kind.
    """
    bind_catalogue()
    place, name = split(reference)
    if names_file(reference):
        path = Path(place).resolve()
        module = _module_of_file(path, kind)
        name = name or _only_one(module, path, kind)
        reference = f"{path}:{name}"
    else:
        module = _imported(place, reference, kind)
    found: object = getattr(module, name, None)
    if found is None:
        known = nearest_words(name, _names_in(module, kind))
        raise kind.error(f"{kind.noun} {reference}: {place} has no `{name}`: {known}")
    if not kind.is_one(found):
        words = f"the class {found.__name__}" if isinstance(found, type) else type(found).__name__
        raise kind.error(f"{reference} must be {kind.expected}; found {words}: {kind.remedy}")
    return Loaded(found, reference)


def plugins_in_file(reference: str, kind: PluginKind[PluginT]) -> list[str]:
    """Return a reference to each object of the kind in a file that a reference names without `:name`.

    Raises:
        InputError: the file does not exist or does not load.
    """
    path = Path(split(reference).module).resolve()
    return [f"{path}:{name}" for name in _names_in(_module_of_file(path, kind), kind)]


def plugin_identity(reference: str) -> str:
    """Hash the source file that a reference names, without running it.

    Raises:
        OSError: the source cannot be read.
    """
    place = split(reference).module
    if names_file(reference):
        return xxhash.xxh3_128_hexdigest(Path(place).read_bytes())
    bind_catalogue()
    spec = importlib.util.find_spec(place)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise FileNotFoundError(f"the module {place} has no source file")
    return xxhash.xxh3_128_hexdigest(Path(spec.origin).read_bytes())


def bind_catalogue() -> None:
    """Import the package `rewards` that lies beside this one, whatever comes first on `sys.path`.

    Every later import of `rewards` or of its modules finds this package. The call does nothing if the process has
    imported a package of that name already.
    """
    if _CATALOGUE in sys.modules:
        return
    folder = Path(__file__).resolve().parents[1] / _CATALOGUE
    spec = importlib.util.spec_from_file_location(
        _CATALOGUE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None, "the file is Python source"
    package = importlib.util.module_from_spec(spec)
    sys.modules[_CATALOGUE] = package
    spec.loader.exec_module(package)


def raised(error: BaseException, reference: str) -> str:
    """Return the words for an error of a plug-in, with the line of its own source: `KeyError: 'a' (line 7 of x.py)`."""
    place = split(reference).module
    source = place if names_file(reference) else getattr(sys.modules.get(place), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source]
    where = f" (line {lines[-1]} of {Path(str(source)).name})" if lines else ""
    said = f": {error!s:.300}" if str(error) else ""
    return f"{type(error).__name__}{said}{where}"


def _imported(module_name: str, reference: str, kind: PluginKind[PluginT]) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        raise kind.error(
            f"{kind.noun} {reference}: the module {module_name} must be importable; found {error}: install what is "
            "missing, or put the module's folder on PYTHONPATH"
        ) from error
    except InputError:
        raise
    except ERRORS_OF_AUTHORS as error:
        raise kind.error(
            f"{kind.noun} {reference}: the module {module_name} must load without an error; it raised "
            f"{raised(error, reference)}"
        ) from error


def _module_of_file(path: Path, kind: PluginKind[PluginT]) -> ModuleType:
    """Load a file as a module, once per content of the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise kind.error(f"the {kind.noun}'s file must be readable; found {error}: correct its path") from error
    name = f"rlpost_file_{xxhash.xxh3_128_hexdigest(str(path).encode() + bytes(1) + content)}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _Content(path, content)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None, "a loader was given"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks up its own module in sys.modules while its class is created
    try:
        loader.exec_module(module)
    except InputError:
        del sys.modules[name]
        raise
    except ERRORS_OF_AUTHORS as error:
        del sys.modules[name]
        words = raised(error, str(path)) + _remedy_beside(path, error)
        raise kind.error(f"{path} must load without an error; it raised {words}") from error
    return module


def _remedy_beside(path: Path, error: BaseException) -> str:
    """Say what to do about an import of a file that lies beside the plug-in's; empty for any other error."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not missing or not ((path.parent / f"{missing}{FILE_ENDING}").exists() or (path.parent / missing).is_dir()):
        return ""
    return (
        f": a file that is named by its path may import what is installed, and {missing} only lies beside it: put both "
        "into one file, or install them as a package and write module:name"
    )


class _Content(SourceLoader):
    """Loads the given bytes and no cached bytecode, which could belong to an edit within the same second."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride] - the stub allows paths of bytes
        return self._content


def _only_one(module: ModuleType, path: Path, kind: PluginKind[PluginT]) -> str:
    names = _names_in(module, kind)
    if len(names) != 1:
        found = f"its {kind.noun}s are {', '.join(names)}" if names else f"it has no {kind.noun}"
        raise kind.error(
            f"{path} must hold exactly one {kind.noun} to go without a name; {found}: write {path.name}:NAME"
        )
    return names[0]


def _names_in(module: ModuleType, kind: PluginKind[PluginT]) -> list[str]:
    return [key for key, value in vars(module).items() if kind.is_one(value)]
