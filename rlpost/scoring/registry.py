"""Finds the `Verifier` for a name in a recipe: a short name, `module:name`, or a file beside the recipe.

- `math.equivalent`: a short name that an installed distribution declares in the entry-point group `rlpost.verifiers`.
- `my_rewards.sums:total`: a verifier of an importable module.
- `rewards/sums.py:total`: a verifier of a file, relative to the recipe; `rewards/sums.py` where it is the only one.

A verifier from a file has the file's absolute path as its `reference`, and worker processes read the file at that path;
so every node that scores must have the file at the same path. The file becomes a module named after its path and
content, which no import statement can reach. It may import installed packages, but not the files beside it. A verifier
that outgrows one file belongs in a distribution with an entry point.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import replace
from importlib.abc import SourceLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import xxhash

from rlpost.errors import RewardError
from rlpost.recipe.nearest import nearest_words
from rlpost.scoring.authoring import Verifier

ENTRY_POINT_GROUP = "rlpost.verifiers"
FILE_ENDING = ".py"


def known_verifiers() -> dict[str, str]:
    """Return short name -> `module:name` of every verifier that an installed distribution declares, sorted by name.

    Raises:
        RewardError: two distributions declare one name for different objects.
    """
    known: dict[str, str] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        other = known.setdefault(point.name, point.value)
        if other != point.value:
            raise RewardError(
                f"the verifier name `{point.name}` must be declared once; it stands for both {other} and "
                f"{point.value}: uninstall one, or name it in the recipe as module:name"
            )
    return known


def resolve(reference: str) -> Verifier:
    """Find the verifier that a recipe names; a relative path is looked up in the working directory.

    Raises:
        RewardError: the verifier does not exist, or the object is not a verifier.
    """
    if ":" in reference or names_file(reference):
        return load_verifier(reference)
    known = known_verifiers()
    if reference not in known:
        raise RewardError(
            f"no verifier is called `{reference}`: {nearest_words(reference, known)}; set `verifier` to a short name "
            f"of the entry-point group {ENTRY_POINT_GROUP}, to module:name, or to path/to/file.py:name"
        )
    return load_verifier(known[reference])


def names_file(reference: str) -> bool:
    """Whether a reference names a file: `path/to/file.py`, with or without `:name`."""
    return _split(reference)[0].endswith(FILE_ENDING)


def at_absolute_path(reference: str, *, folder: Path) -> str:
    """Make the path in a reference absolute, if the reference names a file.

    The file is looked up in `folder` first and then in the working directory, like every path in a recipe.
    """
    place, name = _split(reference)
    if not place.endswith(FILE_ENDING):
        return reference
    path = (folder / place if (folder / place).is_file() else Path(place)).resolve()
    return f"{path}:{name}" if name else str(path)


def load_verifier(reference: str) -> Verifier:
    """Import a verifier by `module:name` or from a file.

    Raises:
        RewardError: the module, the file or the name does not exist, or the object is not a verifier.
    """
    place, name = _split(reference)
    if place.endswith(FILE_ENDING):
        path = Path(place).resolve()
        module = _module_of_file(path)
        name = name or _only_verifier(module, path)
    else:
        path = None
        module = _imported(place, reference)
    found: object = getattr(module, name, None)
    if found is None:
        raise RewardError(
            f"verifier {reference}: {place} has no `{name}`: {nearest_words(name, _verifier_names(module))}"
        )
    if not isinstance(found, Verifier):
        raise RewardError(f"{reference} must be a verifier; found {type(found).__name__}: decorate it with @verifier")
    return found if path is None else replace(found, reference=f"{path}:{name}")


def _split(reference: str) -> tuple[str, str]:
    """Split into (module or file, name); the name is empty for a file without `:name`."""
    place, colon, name = reference.rpartition(":")
    return (place, name) if colon else (reference, "")


def _imported(module_name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        raise RewardError(
            f"verifier {reference}: the module {module_name} must be importable; found {error}: install what is "
            "missing, or put the module's folder on PYTHONPATH"
        ) from error
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(
            f"verifier {reference}: the module {module_name} must load without an error; it raised "
            f"{type(error).__name__}: {error!s:.300}"
        ) from error


def _module_of_file(path: Path) -> ModuleType:
    """Load a file as a module, once per content of the file.

    Raises:
        RewardError: the file does not exist, or raises when it is loaded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RewardError(f"the verifier's file must be readable; found {error}: correct its path") from error
    name = f"rlpost_reward_{xxhash.xxh3_128_hexdigest(str(path).encode() + bytes(1) + content)}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _Content(path, content)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None, "a loader was given"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks up its own module in sys.modules while its class is created
    try:
        loader.exec_module(module)
    except RewardError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise RewardError(f"{path} must load without an error; it raised {type(error).__name__}: {error}") from error
    return module


class _Content(SourceLoader):
    """Loads the given bytes and no cached bytecode, which could belong to an edit within the same second."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride] - the stub allows paths of bytes
        return self._content


def _only_verifier(module: ModuleType, path: Path) -> str:
    names = _verifier_names(module)
    if len(names) != 1:
        found = f"its verifiers are {', '.join(names)}" if names else "it has no verifier"
        raise RewardError(
            f"{path} must hold exactly one verifier to go without a name; {found}: write {path.name}:NAME"
        )
    return names[0]


def _verifier_names(module: ModuleType) -> list[str]:
    return [key for key, value in vars(module).items() if isinstance(value, Verifier)]
