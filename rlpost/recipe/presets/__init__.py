"""Named algorithms, with their sources: one YAML file per preset, chosen by a key such as `algorithm: dapo`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, cast

import yaml

from rlpost.recipe.nearest import nearest_words


@cache
def preset_names() -> tuple[str, ...]:
    """Return the allowed values of `algorithm:`."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def with_preset(written: Any) -> Any:
    """Merge a stage, as plain data, over the preset that it names.

    Raises:
        ValueError: the preset does not exist, or it is for another kind of stage.
    """
    if not isinstance(written, Mapping) or written.get("algorithm") is None:
        return written
    stage = cast("Mapping[str, Any]", written)
    name = stage["algorithm"]
    if name not in preset_names():
        raise ValueError(f"no algorithm is called {name!r}; {nearest_words(str(name), preset_names())}")
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    preset: dict[str, Any] = yaml.safe_load(text)
    kind = preset.pop("kind")
    if stage.get("kind") != kind:
        raise ValueError(f"algorithm {name} is a preset for kind: {kind}; found kind: {stage.get('kind')}")
    return _laid_over(preset, stage)


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge key by key; a section whose `kind` changes is replaced, because its settings belong to its kind."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(lower, Mapping) and isinstance(value, Mapping):
            lower, upper = cast("Mapping[str, Any]", lower), cast("Mapping[str, Any]", value)
            starts_anew = upper.get("kind", lower.get("kind")) != lower.get("kind")
            merged[key] = upper if starts_anew else _laid_over(lower, upper)
        else:
            merged[key] = value
    return merged
