"""Values of a data set as plain data: what json can write, so that they cross processes and land in reports."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from rlpost.errors import DataError

MOST_DEPTH = 64
"""Of lists and mappings within each other."""


def plain(value: Any) -> Any:
    """The value made of None, bool, int, finite float, str, list and dict only; tuples become lists, NaN becomes None.

    Raises:
        DataError: the value holds something else, for example an image or bytes, or what JSON in UTF-8 cannot hold.
    """
    return _plain(value, depth=0)


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
    # Whoever has no null writes a missing number as NaN.
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise DataError(f"numbers must be finite; found {value}: write null where there is none, or drop the column")
    return value
