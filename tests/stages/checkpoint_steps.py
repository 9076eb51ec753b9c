"""Checkpoints of a stage of 100 steps, with a fake learner."""

from __future__ import annotations

from pathlib import Path

from fakes import FakeLearner

from rlpost.stages.checkpoints import StageCheckpoints
from rlpost.stages.stopping import StopRequest

END = 100


def checkpoints_in(
    directory: Path,
    *,
    every: int = 1,
    keep: int = 2,
    total_steps: int = END,
    said: list[str] | None = None,
    stop: StopRequest | None = None,
) -> StageCheckpoints:
    return StageCheckpoints(
        directory / "checkpoints",
        every=every,
        keep=keep,
        total_steps=total_steps,
        say=(lambda text: None) if said is None else said.append,
        stop=stop or StopRequest(()),
    )


def save_steps(checkpoints: StageCheckpoints, *steps: int) -> None:
    """Save at these steps, with ten times the step as weights, and let the stage end."""
    learner = FakeLearner()
    for step in steps:
        learner.weights, learner.steps = 10 * step, step
        checkpoints.save_if_due(learner, step=step, state={"at": step})
    checkpoints.save_if_due(learner, step=END, state={})


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "checkpoints").iterdir())
