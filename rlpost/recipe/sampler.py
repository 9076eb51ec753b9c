"""Samplers: the order in which a stage uses the rows of its data."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from rlpost.recipe.sections import Name, Section

Share = Annotated[float, Field(ge=0, allow_inf_nan=False, le=1e9)]
ShareAtStep = tuple[Annotated[int, Field(ge=0, le=1_000_000_000)], Share]
ShareOverSteps = Annotated[list[ShareAtStep], Field(min_length=1)]


class ShuffledConfig(Section):
    """Every row once an epoch, in an order of its own each time."""

    learns_from_scores: ClassVar[bool] = False

    kind: Literal["shuffled"] = "shuffled"


class MixtureConfig(Section):
    """Data sets in given shares; each goes through shuffled epochs of its own."""

    learns_from_scores: ClassVar[bool] = False

    kind: Literal["mixture"]
    mix: dict[Name, Share | ShareOverSteps] = Field(min_length=1)
    """Data set -> its share of the rows, in relation to the others, so that {math: 3, code: 1} is three quarters
    mathematics. `[[0, 0.6], [100, 0.2]]` changes the share in a straight line from step 0 to step 100."""

    @model_validator(mode="after")
    def _always_something_to_take(self) -> MixtureConfig:
        for name, share in self.mix.items():
            steps = [step for step, _ in _points(share)]
            if steps != sorted(set(steps)):
                raise ValueError(f"the steps of mix.{name} must grow from one entry to the next; found {steps}")
        empty = [step for step in self._steps() if not any(self._written_at(step).values())]
        if empty:
            raise ValueError(f"one share of mix must be above 0 at every step; at step {empty[0]} all are 0: raise one")
        return self

    @property
    def last_change(self) -> int:
        """The step from which on the shares stay as they are."""
        return self._steps()[-1]

    def shares_at(self, step: int) -> dict[str, float]:
        """Data set -> share of the rows that are taken at this step; the shares add up to 1."""
        written = self._written_at(step)
        total = sum(written.values())
        return {name: share / total for name, share in written.items()}

    def ever_taken(self) -> list[str]:
        """The data sets whose share is above 0 at some step."""
        return [name for name, share in self.mix.items() if any(value > 0 for _, value in _points(share))]

    def _steps(self) -> list[int]:
        return sorted({0, *(step for share in self.mix.values() for step, _ in _points(share))})

    def _written_at(self, step: int) -> dict[str, float]:
        return {name: _share_at(_points(share), step) for name, share in self.mix.items()}


class CurriculumConfig(Section):
    """Prompts that are solved sometimes come often; those that are always or never solved rest for a while.

    A prompt with the pass rate p comes 4 p (1 - p) times as often as one that is solved half of the time, which is
    the rule of learnability (arXiv 2502.12272, section 3).
    """

    learns_from_scores: ClassVar[bool] = True

    kind: Literal["curriculum"]
    pass_score: float = Field(default=1.0, allow_inf_nan=False)
    """A response solves its prompt when its score is at least this."""
    newest_share: float = Field(default=0.5, gt=0, le=1)
    """Weight of the newest group in a prompt's running pass rate; the rest is that of the rate before it."""
    rest_rounds: float = Field(default=8.0, ge=1, le=1_000)
    """Rounds until a prompt that is always or never solved comes again. In one round each prompt that is solved half
    of the time comes once."""
    revisit_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of prompts that are taken again because they were solved sometimes, while there are others that were not
    seen yet (ether0, arXiv 2506.17238, section 4.2.1, has 0.25 to 0.5)."""


AnySampler = Annotated[ShuffledConfig | MixtureConfig | CurriculumConfig, Field(discriminator="kind")]


def _points(share: float | list[ShareAtStep]) -> list[ShareAtStep]:
    return share if isinstance(share, list) else [(0, share)]


def _share_at(points: list[ShareAtStep], step: int) -> float:
    after = bisect_right(points, step, key=lambda point: point[0])
    if after in (0, len(points)):
        return points[max(0, after - 1)][1]
    (begin, low), (end, high) = points[after - 1 : after + 1]
    return low + (high - low) * (step - begin) / (end - begin)
