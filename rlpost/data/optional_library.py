"""Libraries of the `run` extra, each imported only by the function that needs it."""

from __future__ import annotations

import importlib
from typing import Any

from rlpost.errors import DataError


def required_library(name: str, *, purpose: str) -> Any:
    """Import a library and return its module, untyped, since none of these libraries has types.

    Raises:
        DataError: the library is not installed, as on a machine that only runs supervised stages.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DataError(
            f"{purpose} needs the library {name}; the import found: {error}. Install it with pip install 'rlpost[run]'"
        ) from error
