"""From the name in a recipe to a `Verifier`: a short name from an entry point, or `module:name`."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from rlpost.errors import RewardError
from rlpost.recipe.nearest import nearest_words
from rlpost.scoring.authoring import Verifier

ENTRY_POINT_GROUP = "rlpost.verifiers"


def known_verifiers() -> dict[str, str]:
    """Short name -> `module:name` of every verifier that an installed distribution declares, sorted by name.

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
    """The verifier that a recipe names.

    Raises:
        RewardError: it does not exist, or is not a verifier.
    """
    if ":" in reference:
        return load_verifier(reference)
    known = known_verifiers()
    if reference not in known:
        raise RewardError(
            f"no verifier is called `{reference}`: {nearest_words(reference, known)}; set `verifier` to a short name "
            f"of the entry-point group {ENTRY_POINT_GROUP}, or to module:name"
        )
    return load_verifier(known[reference])


def load_verifier(reference: str) -> Verifier:
    """Import `module:name`.

    Raises:
        RewardError: the module or the name does not exist, or is not a verifier.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise RewardError(
            f"verifier {reference}: the module {module_name} must be importable; found {error}: install what is "
            "missing, or put the module's folder on PYTHONPATH"
        ) from error
    found: object = getattr(module, name, None)
    if found is None:
        names = [key for key, value in vars(module).items() if isinstance(value, Verifier)]
        raise RewardError(f"verifier {reference}: {module_name} has no `{name}`: {nearest_words(name, names)}")
    if not isinstance(found, Verifier):
        raise RewardError(f"{reference} must be a verifier; found {type(found).__name__}: decorate it with @verifier")
    return found
