"""Names of a user's own code in a recipe: `module:name`, or `path/to/file.py:name`.

A key that may hold such a name has the mark `NamesPlugin` in its type, so that all sections are treated alike: a
relative file path is made absolute (`recipe.paths`), and the code is part of the stage's hash (`pipeline.lineage`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from rlpost.recipe.nearest import nearest_words

FORMS = "module:name or path/to/file.py:name"
IN_FILE = re.compile(r"([^\n]+\.py)((?::\w+)?)")
"""An object in a file: the path, and the object's name."""
_PLUGIN = re.compile(r"([^\n:]+\.py|\w+(\.\w+)*):\w+")


class NamesPlugin:
    """Marks a key, in its type, whose value may name a plug-in."""


def names_plugin(text: str) -> bool:
    """Whether the text has the form of a plug-in's name."""
    return _PLUGIN.fullmatch(text) is not None


def kind_tag(default: str) -> Callable[[object], str]:
    """Return the discriminator of a union whose members have a `kind`, one of which stands for plug-ins (`FORMS`).

    pydantic rejects a tag that no member has. `default` is the kind of a section that names none.
    """

    def tag(written: object) -> str:
        if isinstance(written, Mapping):
            kind = str(cast("Mapping[str, Any]", written).get("kind", default))
        else:
            kind = getattr(written, "kind", default)
        return FORMS if names_plugin(kind) else kind

    return tag


def known_or_plugin(text: str, *, noun: str, known: Collection[str]) -> str:
    """Return the text if it is a known name or names a plug-in.

    Raises:
        ValueError: the text is neither, or names a part of Python's standard library.
    """
    if text in known:
        return text
    if not names_plugin(text):
        raise ValueError(f"no {noun} is called {text!r} (one of your own: {FORMS}); {nearest_words(text, known)}")
    return own_plugin(text)


def own_plugin(text: str) -> str:
    """Return the text if it does not name a part of Python itself, such as `os:system`; recipes may come from others.

    Raises:
        ValueError: it names a part of Python.
    """
    if names_python_itself(text):
        raise ValueError(
            f"must name an object that is written for this; found {text!r} of Python's standard library: give {FORMS}"
        )
    return text


def names_python_itself(reference: str) -> bool:
    """Whether `module:name` names a part of Python's standard library."""
    place = reference.partition(":")[0]
    return not place.endswith(".py") and place.partition(".")[0] in sys.stdlib_module_names


class PluginUse(NamedTuple):
    """A plug-in that a section names."""

    path: tuple[str, ...]
    """Path of the key in the given section."""
    section: BaseModel
    """The section that contains the key."""
    reference: str


def plugins_of(section: BaseModel) -> Iterator[PluginUse]:
    """Yield every plug-in that a section, or a section inside it, names."""
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from (use._replace(path=(key, *use.path)) for use in plugins_of(value))
        elif any(isinstance(mark, NamesPlugin) for mark in field.metadata) and names_plugin(value):
            yield PluginUse((key,), section, value)
