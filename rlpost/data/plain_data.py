"""Restricts values of a data set to plain data that JSON can represent, so that they can cross processes and enter
reports.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from rlpost.errors import DataError

MOST_DEPTH = 64
"""Deepest nesting of lists and mappings."""


def plain(value: Any) -> Any:
    """Return the value made only of None, bool, int, finite float, str, list and dict; tuples become lists, NaN becomes
    None.

    Raises:
        DataError: the value contains anything else, for example an image or bytes, or a text that UTF-8 cannot encode.
    """
    return _plain(value, depth=0)


def is_text(*values: Any) -> bool:
    """Whether all values are texts."""
    return all(isinstance(value, str) for value in values)


def _plain(value: Any, *, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item(), depth=depth)
    if isinstance(value, float):
        return _number(value)
    if depth >= MOST_DEPTH:
        raise DataError(f"lists and mappings in a column may be nested {MOST_DEPTH} deep: flatten or drop it first")
    if isinstance(value, np.ndarray):
        return _plain(cast("np.ndarray[Any, Any]", value).tolist(), depth=depth)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {key if isinstance(key, int) else _text(str(key)): _plain(item, depth=depth + 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item, depth=depth + 1) for item in cast("list[Any]", value)]
    if isinstance(value, datetime.date | datetime.time | decimal.Decimal):
        return str(value)
    raise DataError(
        f"columns must hold text, numbers, lists and mappings; found {type(value).__name__}: convert or drop it first"
    )


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        around = value[max(0, error.start - 20) : error.start + 20]
        raise DataError(
            f"text must be Unicode; found half of a surrogate pair in {around!r}: write the whole character"
        ) from error
    return value


def _number(value: float) -> float | None:
    # Formats without null write a missing number as NaN.
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise DataError(f"numbers must be finite; found {value}: write null where there is none, or drop the column")
    return value
