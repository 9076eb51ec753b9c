"""Values of a data set as plain data: what json can write, so that they cross processes and land in reports."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from rlpost.errors import DataError


def plain(value: Any) -> Any:
    """The value made of None, bool, int, float, str, list and dict only; tuples become lists.

    Raises:
        DataError: the value holds something else, for example an image or bytes.
    """
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return plain(cast("np.ndarray[Any, Any]", value).tolist())
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {key if isinstance(key, int | str) else str(key): plain(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, datetime.date | datetime.time | decimal.Decimal):
        return str(value)
    raise DataError(
        f"columns must hold text, numbers, lists and mappings; found {type(value).__name__}: convert or drop it first"
    )
