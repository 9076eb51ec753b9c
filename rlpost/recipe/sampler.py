"""Samplers: the order in which a stage uses the rows of its data."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.plugin_reference import FORMS, NamesPlugin, kind_tag, own_plugin
from rlpost.recipe.problems import Problem
from rlpost.recipe.sections import Name, Section

Share = Annotated[float, Field(ge=0, allow_inf_nan=False, le=1e9)]
ShareOverSteps = Annotated[
    list[Annotated[list[Annotated[float, Field(ge=0, le=1e9)]], Field(min_length=2, max_length=2)]], Field(min_length=1)
]
"""Pairs of a step and the share at that step."""


class SamplerConfig(Section):
    """The facts that every sampler states about itself."""

    learns_from_scores: ClassVar[bool] = False
    """Whether the sampler needs a stage whose samples are scored."""

    keeps_row_count: ClassVar[bool] = True
    """Whether an epoch has each row of the stage's data sets once."""

    def epoch_rows(self, counts: Mapping[str, int]) -> int:
        """Return the number of rows of an epoch; `counts` has the number of rows of each data set."""
        return sum(counts.values())

    def words(self) -> Iterator[str]:
        """Yield the lines that `rlpost check` prints."""
        yield from ()

    def contradictions(self, *, data: Collection[str]) -> Iterator[Problem]:
        """Find keys that do not fit the stage's data sets; the paths begin at the section."""
        yield from ()


class ShuffledConfig(SamplerConfig):
    """Every row comes once per epoch; each epoch has another order."""

    kind: Literal["shuffled"] = "shuffled"


class MixtureConfig(SamplerConfig):
    """Rows come from the data sets in given shares; each data set has its own shuffled epochs."""

    kind: Literal["mixture"]
    mix: dict[Name, Share | ShareOverSteps] = Field(min_length=1)
    """Data set -> its share of the rows, in relation to the others, so that {math: 3, code: 1} is three quarters
    mathematics. `[[0, 0.6], [100, 0.2]]` changes the share in a straight line from step 0 to step 100.
    """

    @model_validator(mode="after")
    def _always_something_to_take(self) -> MixtureConfig:
        for name, share in self.mix.items():
            steps = [step for step, _ in _points(share)]
            if any(step != int(step) for step in steps):
                raise ValueError(
                    f"mix.{name} is a list of [step, share], and a step is a whole number; found {_listed(steps)}"
                )
            if steps != sorted(set(steps)):
                raise ValueError(
                    f"the steps of mix.{name} must grow from one entry to the next; found {_listed(steps)}"
                )
        empty = [step for step in self._steps() if not any(self._written_at(step).values())]
        if empty:
            raise ValueError(f"one share of mix must be above 0 at every step; at step {empty[0]} all are 0: raise one")
        return self

    def words(self) -> Iterator[str]:
        """See `SamplerConfig`."""
        first, last = (_shares_in_words(self.shares_at(step)) for step in (0, self.last_change))
        yield f"rows from {first}" + (f"; from step {self.last_change:,} on {last}" if self.last_change else "")

    def contradictions(self, *, data: Collection[str]) -> Iterator[Problem]:
        """See `SamplerConfig`."""
        for name in self.mix:
            if name not in data:
                yield Problem(path=("mix", name), text=f"must be a data set of the stage; {nearest_words(name, data)}")
        left_out = [name for name in data if name not in self.mix]
        if left_out:
            yield Problem(
                path=("mix",),
                text=f"must give each data set of the stage a share; {', '.join(left_out)} has none: add it, or take "
                "it out of `data`",
            )

    @property
    def last_change(self) -> int:
        """The step from which on the shares stay as they are."""
        return self._steps()[-1]

    def shares_at(self, step: int) -> dict[str, float]:
        """Return data set -> share of the rows that are taken at this step; the shares add up to 1."""
        written = self._written_at(step)
        total = sum(written.values())
        return {name: share / total for name, share in written.items()}

    def ever_taken(self) -> list[str]:
        """Return the data sets whose share is above 0 at some step."""
        return [name for name, share in self.mix.items() if any(value > 0 for _, value in _points(share))]

    def _steps(self) -> list[int]:
        return sorted({0, *(int(step) for share in self.mix.values() for step, _ in _points(share))})

    def _written_at(self, step: int) -> dict[str, float]:
        return {name: _share_at(_points(share), step) for name, share in self.mix.items()}


class RepeatedConfig(SamplerConfig):
    """Every data set comes a number of times, or in part, in each shuffled epoch; `epochs` counts these."""

    keeps_row_count: ClassVar[bool] = False

    kind: Literal["repeated"]
    times: dict[Name, Annotated[float, Field(ge=0, le=1_000)]] = Field(default_factory=dict[str, float])
    """Data set -> times that each of its rows comes in an epoch; 0.5 takes half of the rows, and 2.5 all of them twice
    and half of them once more, the same half in each epoch. By default 1."""
    rows: dict[Name, Annotated[int, Field(ge=0)]] = Field(default_factory=dict[str, int])
    """Data set -> number of its rows in an epoch, in place of `times`; more than it has repeats it."""

    @model_validator(mode="after")
    def _one_number_each(self) -> RepeatedConfig:
        both = sorted(set(self.times) & set(self.rows))
        if both:
            raise ValueError(f"a data set has a number in `times` or in `rows`; {', '.join(both)} has both: remove one")
        if not self.times and not self.rows:
            raise ValueError("repeated needs `times` or `rows`: give a data set a number, or use shuffled")
        return self

    def count_of(self, name: str, row_count: int) -> int:
        """Return the number of rows of a data set in an epoch."""
        return self.rows[name] if name in self.rows else round(self.times.get(name, 1.0) * row_count)

    def epoch_rows(self, counts: Mapping[str, int]) -> int:
        """See `SamplerConfig`."""
        return sum(self.count_of(name, count) for name, count in counts.items())

    def words(self) -> Iterator[str]:
        """See `SamplerConfig`."""
        written = [f"{name} {times:g} times" for name, times in self.times.items()]
        written += [f"{count:,} rows of {name}" for name, count in self.rows.items()]
        yield f"an epoch has {', '.join(written)}"

    def contradictions(self, *, data: Collection[str]) -> Iterator[Problem]:
        """See `SamplerConfig`."""
        for key in ("times", "rows"):
            for name in getattr(self, key):
                if name not in data:
                    text = f"must be a data set of the stage; {nearest_words(name, data)}"
                    yield Problem(path=(key, name), text=text)


class CurriculumConfig(SamplerConfig):
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
    of the time comes once.
    """
    revisit_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of prompts that are taken again because they were solved sometimes, while there are others that were not
    seen yet (ether0, arXiv 2506.17238, section 4.2.1, has 0.25 to 0.5).
    """

    def words(self) -> Iterator[str]:
        """See `SamplerConfig`."""
        yield (
            f"prompts by their running pass rate (a score of {self.pass_score:g} passes): those that are always or "
            f"never solved come every {self.rest_rounds:g} rounds"
        )


class PluginSamplerConfig(SamplerConfig):
    """A sampler of your own (`docs/samplers.md`)."""

    kind: Annotated[str, AfterValidator(own_plugin), NamesPlugin()]
    """`module:name` or `path/to/file.py:name`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Passed to the sampler."""

    def words(self) -> Iterator[str]:
        """See `SamplerConfig`."""
        yield f"rows as {self.kind} chooses them"


AnySampler = Annotated[
    Annotated[ShuffledConfig, Tag("shuffled")]
    | Annotated[MixtureConfig, Tag("mixture")]
    | Annotated[RepeatedConfig, Tag("repeated")]
    | Annotated[CurriculumConfig, Tag("curriculum")]
    | Annotated[PluginSamplerConfig, Tag(FORMS)],
    Discriminator(kind_tag(ShuffledConfig.model_fields["kind"].default)),
]
"""The order in which a stage uses the rows of its data."""


def _listed(steps: Sequence[float]) -> str:
    return ", ".join(f"{step:g}" for step in steps)


def _shares_in_words(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.3g}" for name, share in shares.items())


def _points(share: float | list[list[float]]) -> list[tuple[float, float]]:
    return [(step, value) for step, value in share] if isinstance(share, list) else [(0, share)]


def _share_at(points: list[tuple[float, float]], step: float) -> float:
    after = bisect_right(points, step, key=lambda point: point[0])
    if after in (0, len(points)):
        return points[max(0, after - 1)][1]
    (begin, low), (end, high) = points[after - 1 : after + 1]
    return low + (high - low) * (step - begin) / (end - begin)
