"""Finds the `Verifier` for a name in a recipe: a short name, `module:name`, or a file beside the recipe.

- `math.equivalent`: a short name that an installed distribution declares in the entry-point group `rlpost.verifiers`.
- `my_rewards.sums:total`: a verifier of an importable module.
- `rewards/sums.py:total`: a verifier of a file, relative to the recipe; `rewards/sums.py` where it is the only one.

A verifier from a file has the file's absolute path as its `reference`, and worker processes read the file at that path;
so every node that scores must have the file at the same path (see `rlpost.plugins`). A verifier that outgrows one file
belongs in a distribution with an entry point.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points

from typing_extensions import TypeIs

from rlpost.errors import RewardError
from rlpost.plugins import PluginKind, load_plugin, names_file, plugins_in_file
from rlpost.recipe.nearest import nearest_words
from rlpost.scoring.authoring import Verifier

ENTRY_POINT_GROUP = "rlpost.verifiers"


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


def all_of(reference: str) -> list[str]:
    """Return the references of all verifiers in a file that is named without `:name`; else the reference itself.

    Raises:
        RewardError: the file does not exist or does not load.
    """
    if not names_file(reference) or ":" in reference:
        return [reference]
    return plugins_in_file(reference, _VERIFIERS) or [reference]


def load_verifier(reference: str) -> Verifier:
    """Import a verifier by `module:name` or from a file.

    Raises:
        RewardError: the module, the file or the name does not exist, or the object is not a verifier.
    """
    found, place = load_plugin(reference, _VERIFIERS)
    return replace(found, reference=place) if names_file(reference) else found


def _is_verifier(found: object) -> TypeIs[Verifier]:
    return isinstance(found, Verifier)


_VERIFIERS = PluginKind(
    noun="verifier",
    expected="a verifier",
    remedy="decorate it with @verifier",
    is_one=_is_verifier,
    error=RewardError,
)
