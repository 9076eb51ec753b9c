"""A sampler that a recipe names as `module:name` or `path/to/file.py:name`, held to its contract."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from typing_extensions import TypeIs

from rlpost.data.samplers.rows import SampledRows
from rlpost.errors import InputError, PluginError
from rlpost.interfaces import Sampler
from rlpost.parameters import parameter_model, validated
from rlpost.plugins import PluginKind, load_plugin
from rlpost.recipe.sampler import PluginSamplerConfig
from rlpost.records import RolloutGroup

_METHODS = ("next", "observe", "state", "load")
_GIVEN = ("rows", "seed", "rows_per_step")


class PluginSampler:
    """An `interfaces.Sampler` around one of the author's own, whose state it ties to the rows."""

    def __init__(self, config: PluginSamplerConfig, rows: SampledRows, *, seed: int, rows_per_step: int) -> None:
        """Make the author's sampler.

        Raises:
            PluginError: it does not exist, is no sampler, does not take its parameters, or raises.
        """
        made, self._reference, params = loaded_sampler(config)
        try:
            self._own: Sampler = made(rows, seed=seed, rows_per_step=rows_per_step, **params)
        except InputError:
            raise
        except Exception as error:
            raise PluginError(
                f"the sampler {self._reference} must be made from (rows, *, seed, rows_per_step) and its parameters; "
                f"it raised {type(error).__name__}: {error!s:.300}"
            ) from error
        self._rows = rows

    def next(self, count: int) -> list[int]:
        """The rows that the author's sampler gives.

        Raises:
            PluginError: they are not `count` indices of rows.
        """
        found = cast("object", self._own.next(count))
        if not isinstance(found, list) or len(cast("list[object]", found)) != count:
            kind = f"{len(cast('list[object]', found))} entries" if isinstance(found, list) else type(found).__name__
            raise self._refusal("next", f"a list of {count} rows", kind)
        for row in cast("list[object]", found):
            if type(row) is not int or not 0 <= row < len(self._rows.ids):
                raise self._refusal("next", f"whole numbers from 0 to {len(self._rows.ids) - 1}", f"{row!r:.100}")
        return cast("list[int]", found)

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """Tell the author's sampler."""
        self._own.observe(groups)

    def state(self) -> dict[str, Any]:
        """The state of the author's sampler.

        Raises:
            PluginError: it is no plain data.
        """
        own = self._own.state()
        try:
            if json.loads(json.dumps(own)) != own:
                raise self._refusal("state", "plain data that JSON gives back as it is", f"{own!r:.100}")
        except (TypeError, ValueError) as error:
            raise self._refusal("state", "plain data that JSON can hold", str(error)) from error
        return self._rows.tied({"own": own}, kind=self._name)

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the author's sampler over the same rows."""
        self._rows.check_tied(state, kind=self._name)
        self._own.load(state["own"])

    @property
    def _name(self) -> str:
        """Without the folder, which may be another one on resume."""
        return self._reference.rpartition("/")[2]

    def _refusal(self, method: str, wanted: str, found: str) -> PluginError:
        return PluginError(f"{method} of the sampler {self._reference} must return {wanted}; found {found}")


class LoadedSampler(NamedTuple):
    """A class of the author's own, and what it is made with besides the rows."""

    made: type[Any]
    reference: str
    params: dict[str, Any]


def loaded_sampler(config: PluginSamplerConfig) -> LoadedSampler:
    """The class that a recipe names, with its parameters checked.

    Raises:
        PluginError: it does not exist, is no sampler, or does not take its parameters.
    """
    found, reference = load_plugin(config.kind, _SAMPLERS)
    parameters = parameter_model(found, name=reference, given=_GIVEN, error=PluginError)
    return LoadedSampler(found, reference, validated(parameters, config.params, name=reference, error=PluginError))


def try_sampler(config: PluginSamplerConfig, rows: SampledRows, *, rows_per_step: int) -> None:
    """Ask a fresh sampler of the author's own for two steps, the second after a state was saved and loaded.

    Raises:
        PluginError: it breaks its contract.
    """
    first, again = (PluginSampler(config, rows, seed=0, rows_per_step=rows_per_step) for _ in range(2))
    try:
        first.next(rows_per_step)
        first.observe(())
        again.load(json.loads(json.dumps(first.state())))
        expected, found = first.next(rows_per_step), again.next(rows_per_step)
    except InputError:
        raise
    except Exception as error:
        raise PluginError(
            f"the sampler {config.kind} must take next, observe, state and load in this order, also without any "
            f"group to observe; it raised {type(error).__name__}: {error!s:.300}"
        ) from error
    if found != expected:
        raise PluginError(
            f"load of the sampler {config.kind} must go on from what state returned; the step after it begins with "
            f"rows {expected[:5]}, and with {found[:5]} after load: save in state all that decides on the next rows"
        )


def _is_sampler(found: object) -> TypeIs[type[Any]]:
    return inspect.isclass(found) and all(callable(getattr(found, name, None)) for name in _METHODS)


_SAMPLERS: PluginKind[type[Any]] = PluginKind(
    noun="sampler",
    expected=f"a class with the methods {', '.join(_METHODS)}",
    remedy="see interfaces.Sampler and docs/samplers.md",
    is_one=_is_sampler,
    error=PluginError,
)
