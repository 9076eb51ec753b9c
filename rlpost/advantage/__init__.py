"""Scores of one group -> advantage of each sample. Pure numpy, one scheme a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rlpost.advantage.group_mean import dr_grpo, grpo
from rlpost.advantage.leave_one_out import leave_one_out
from rlpost.interfaces import AdvantageFn

Scheme = Literal["grpo", "dr_grpo", "leave_one_out"]

_FUNCTIONS: Mapping[Scheme, AdvantageFn] = {"grpo": grpo, "dr_grpo": dr_grpo, "leave_one_out": leave_one_out}


def advantage_of(scheme: Scheme) -> AdvantageFn:
    """The function that a recipe's `advantage.scheme` names."""
    return _FUNCTIONS[scheme]
