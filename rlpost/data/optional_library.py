"""Libraries of the `run` extra, imported by the one function that needs them."""

from __future__ import annotations

import importlib
from typing import Any

from rlpost.errors import DataError


def required_library(name: str, *, purpose: str) -> Any:
    """The module, untyped, since none of these libraries ships types.

    Raises:
        DataError: the library is not installed, as on a machine that only runs supervised stages.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DataError(
            f"{purpose} needs the library {name}; the import found: {error}. Install it with pip install 'rlpost[run]'"
        ) from error
