"""A sampler that a recipe names as `module:name` or `path/to/file.py:name`, held to its contract."""

from __future__ import annotations

import inspect
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
from typing_extensions import TypeIs

from rlpost.data.samplers.rows import SampledRows
from rlpost.errors import InputError, PluginError
from rlpost.interfaces import Sampler
from rlpost.parameters import parameter_model, validated
from rlpost.plugins import ERRORS_OF_AUTHORS, PluginKind, load_plugin, raised
from rlpost.recipe.sampler import PluginSamplerConfig
from rlpost.records import (
    Episode,
    Fault,
    Message,
    Prompt,
    RolloutGroup,
    Trajectory,
    Turn,
    Verdict,
    VersionSpan,
)

_METHODS = ("next", "observe", "state", "load")
_GIVEN = ("rows", "seed", "rows_per_step")


class PluginSampler:
    """An `interfaces.Sampler` around the user's sampler. It ties the state of the user's sampler to the rows."""

    def __init__(self, config: PluginSamplerConfig, rows: SampledRows, *, seed: int, rows_per_step: int) -> None:
        """Make the user's sampler.

        Raises:
            PluginError: it does not exist, is no sampler, does not take its parameters, or raises.
        """
        made, self._reference, params = loaded_sampler(config)
        try:
            self._own: Sampler = made(rows, seed=seed, rows_per_step=rows_per_step, **params)
        except InputError:
            raise
        except ERRORS_OF_AUTHORS as error:
            raise PluginError(
                f"the sampler {self._reference} must be made from (rows, *, seed, rows_per_step) and its parameters; "
                f"it raised {raised(error, self._reference)}"
            ) from error
        self._rows = rows

    def next(self, count: int) -> list[int]:
        """Return the rows that the user's sampler gives.

        Raises:
            PluginError: they are not `count` indices of rows, or it raised.
        """
        with self._calling("next"):
            found = cast("object", self._own.next(count))
        if not isinstance(found, list) or len(cast("list[object]", found)) != count:
            kind = f"{len(cast('list[object]', found))} entries" if isinstance(found, list) else type(found).__name__
            raise self._refusal("next", f"a list of {count} rows", kind)
        for row in cast("list[object]", found):
            if type(row) is not int or not 0 <= row < len(self._rows.ids):
                raise self._refusal("next", f"whole numbers from 0 to {len(self._rows.ids) - 1}", f"{row!r:.100}")
        return cast("list[int]", found)

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """Pass the groups on to the user's sampler.

        Raises:
            PluginError: it raised.
        """
        with self._calling("observe"):
            self._own.observe(groups)

    def state(self) -> dict[str, Any]:
        """Return the state of the user's sampler.

        Raises:
            PluginError: it is no plain data, or it raised.
        """
        with self._calling("state"):
            own = self._own.state()
        try:
            given_back = json.loads(json.dumps(own))
        except (TypeError, ValueError) as error:
            raise self._refusal("state", "plain data that JSON can hold", str(error)) from error
        if given_back != own:
            raise self._refusal("state", "plain data that JSON gives back as it is", f"{own!r:.100}")
        return self._rows.tied({"own": own}, kind=self._name)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the user's sampler over the same rows.

        Raises:
            DataError: it is the state of another sampler or of other rows.
            PluginError: the user's sampler raised.
        """
        self._rows.check_tied(state, kind=self._name)
        with self._calling("load"):
            self._own.load(state["own"])

    @property
    def _name(self) -> str:
        """The name without the folder, which may be another one when the stage is resumed."""
        return self._reference.rpartition("/")[2]

    @contextmanager
    def _calling(self, method: str) -> Generator[None]:
        """Name the sampler and the line in an error of its method."""
        try:
            yield
        except InputError:
            raise
        except ERRORS_OF_AUTHORS as error:
            raise PluginError(
                f"{method} of the sampler {self._reference} must not raise; it raised {raised(error, self._reference)}"
            ) from error

    def _refusal(self, method: str, wanted: str, found: str) -> PluginError:
        return PluginError(f"{method} of the sampler {self._reference} must return {wanted}; found {found}")


class LoadedSampler(NamedTuple):
    """A class of the user's, and the parameters that it is made with."""

    made: type[Any]
    reference: str
    params: dict[str, Any]


def loaded_sampler(config: PluginSamplerConfig) -> LoadedSampler:
    """Load the class that a recipe names, and check its parameters.

    Raises:
        PluginError: it does not exist, is no sampler, or does not take its parameters.
    """
    found, reference = load_plugin(config.kind, _SAMPLERS)
    parameters = parameter_model(found, name=reference, given=_GIVEN, error=PluginError)
    return LoadedSampler(found, reference, validated(parameters, config.params, name=reference, error=PluginError))


def try_sampler(config: PluginSamplerConfig, rows: SampledRows, *, rows_per_step: int, scored: bool) -> None:
    """Ask a fresh sampler of the user's for two steps. Then give a second one the state that was saved between the
    steps, and ask it for the rows of the second step one at a time.

    With `scored`, a made-up group of each row of the first step is observed.

    Raises:
        PluginError: the sampler breaks its contract.
    """
    first, again = (PluginSampler(config, rows, seed=0, rows_per_step=rows_per_step) for _ in range(2))
    taken = first.next(rows_per_step)
    first.observe([_made_up_group(rows.ids[row], index) for index, row in enumerate(taken)] if scored else [])
    again.load(json.loads(json.dumps(first.state())))
    expected, found = first.next(rows_per_step), [row for _ in range(rows_per_step) for row in again.next(1)]
    if found != expected:
        raise PluginError(
            f"the sampler {config.kind} must go on after load from what state returned, and next(2) must give the rows "
            f"of next(1) and next(1); the second step is rows {expected[:5]}, and {found[:5]} after load and one by "
            "one: save in state all that decides on the next rows, and count rows, not calls"
        )


def _made_up_group(row_id: str, index: int) -> RolloutGroup:
    """Make a group with one good answer and one bad one; nobody could judge the third, and in every second group
    nobody could judge any.
    """
    prompt_ids = np.array([0], np.int32)
    question = (Message(role="user", content="question"),)
    prompt = Prompt(
        id=row_id, dataset=row_id.partition("/")[0], messages=question, token_ids=prompt_ids, gold=None, meta={}
    )
    trajectory = Trajectory(
        token_ids=np.array([0, 1], np.int32),
        trained_T=np.array([False, True]),
        logprobs_T=np.array([0.0, -1.0], np.float32),
        version_spans=(VersionSpan(1, 2, 0),),
        turns=(Turn(0, 1, "user"), Turn(1, 2, "assistant")),
        finish="stop",
    )
    unjudged = Verdict(fault=Fault.INFRA, reason="made up")
    verdicts = (unjudged,) * 3 if index % 2 else (Verdict(score=1.0), Verdict(score=0.0), unjudged)
    episodes = [
        Episode(sample=sample, trajectories=(trajectory,), response="answer", seconds=1.0)
        for sample in range(len(verdicts))
    ]
    return RolloutGroup(prompt=prompt, index=index, episodes=tuple(episodes), verdicts=verdicts)


def _is_sampler(found: object) -> TypeIs[type[Any]]:
    return inspect.isclass(found) and all(callable(getattr(found, name, None)) for name in _METHODS)


_SAMPLERS: PluginKind[type[Any]] = PluginKind(
    noun="sampler",
    expected=f"a class with the methods {', '.join(_METHODS)}",
    remedy="see interfaces.Sampler and docs/samplers.md",
    is_one=_is_sampler,
    error=PluginError,
)
