"""Faults must not pass for a model that learns nothing: a batch without one sound verdict stops the run."""

from __future__ import annotations

from collections.abc import Sequence

from rlpost.errors import RewardError
from rlpost.records import RolloutGroup


def refuse_if_nothing_was_judged(groups: Sequence[RolloutGroup]) -> None:
    """Hold one step's or one evaluation's groups against the verifier.

    Raises:
        RewardError: every single sample ended in a fault.
    """
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    faults = [verdict for verdict in verdicts if verdict.fault is not None]
    if verdicts and len(faults) == len(verdicts):
        first = faults[0]
        raise RewardError(
            f"a verifier must judge at least one of {len(verdicts)} samples; all ended in a fault, the first "
            f"({first.fault}, {first.version or 'no verifier'}): {first.reason}: mend the verifier or its data, "
            "or name another in rewards.routes"
        )
