"""What a data set may hold, as plain data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rlpost.data.plain_data import MOST_DEPTH, plain
from rlpost.errors import DataError


def test_values_that_no_json_file_can_hold_are_refused_and_nan_is_nothing() -> None:
    assert plain([math.nan, np.float32("nan"), {"score": math.nan}]) == [None, None, {"score": None}]
    for value in (math.inf, np.float64("-inf"), [[-math.inf]]):
        with pytest.raises(DataError, match=r"numbers must be finite; found -?inf"):
            plain(value)
    for value in ("half \ud800 of it", {"\udfff": 1}):
        with pytest.raises(DataError, match=r"found half of a surrogate pair in '.*\\ud"):
            plain(value)


def test_values_nested_deeper_than_anyone_reads_are_refused() -> None:
    value: Any = "x"
    for _ in range(MOST_DEPTH + 1):
        value = [value]
    assert plain(value[0]) == value[0]
    for deeper in (value, [[value] * 9]):
        with pytest.raises(DataError, match=f"may be nested {MOST_DEPTH} deep"):
            plain(deeper)
