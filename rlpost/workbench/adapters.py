"""Uses reward functions of TRL as verifiers, and verifiers as reward functions of TRL. It does not import TRL.

A reward function of TRL takes lists, `f(prompts, completions, completion_ids, **columns)`, and returns a list of floats
or None, where None means "not applicable". As a verifier it judges batches; None becomes `Mark.NOT_APPLICABLE`, so
that it abstains in a composition. In the other direction, a verifier used as a reward function returns None if it has
no score (the reference cannot be read, its service is unreachable, or it does not apply); TRL then leaves the sample
out.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from pydantic import ConfigDict, create_model

from rlpost.errors import RewardError
from rlpost.records import Mark, Sample, Verdict
from rlpost.scoring.authoring import Case, Isolation, Verifier, VerifierSpec
from rlpost.scoring.executors import Executors
from rlpost.scoring.registry import load_verifier

UNKNOWN_TOKEN = -1
"""Placeholder in `completion_ids`: a scorer knows only the number of tokens, so decoding these ids is an error."""


def from_trl(
    function: Callable[..., Any],
    *,
    name: str,
    version: str,
    reference: str,
    columns: Mapping[str, str] = MappingProxyType({}),
    conversational: bool = True,
    isolation: Isolation = "process",
    timeout_s: float = 30.0,
    memory_mib: int = 8192,
    largest_batch: int = 32,
    score_range: tuple[float, float] = (0.0, 1.0),
    cases: Sequence[Case] = (),
) -> Verifier:
    """Turn a reward function of TRL into a verifier of batches, without parameters.

    Args:
        function: `f(prompts, completions, completion_ids, **columns) -> list[float | None]`, plain or async.
        name: The verifier's name.
        version: The verifier's version; change it whenever a score may change.
        reference: The `module:name` under which a worker process finds the returned verifier: `accuracy = from_trl(...,
            reference=f"{__name__}:accuracy", ...)` at the top level of a module.
        columns: Argument name of the function -> `gold`, or a column that every row must have. All other columns of the
            rows are passed too, under their own names.
        conversational: Whether prompts and completions are lists of messages; otherwise they are texts.
        isolation: See `rlpost.scoring.authoring`.
        timeout_s: Limit of one call.
        memory_mib: Address space of a worker; TRL's own modules import torch, which takes much of it.
        largest_batch: Most samples per call.
        score_range: Smallest and largest value that the function returns.
        cases: See `rlpost.scoring.authoring`.
    """
    spec = VerifierSpec(
        name=name,
        version=version,
        isolation=isolation,
        per="batch",
        timeout_s=timeout_s,
        memory_mib=memory_mib,
        largest_batch=largest_batch,
        requires=tuple(dict.fromkeys(columns.values())),
        score_range=score_range,
        deterministic=True,
        extra=None,
        modules=(),
    )

    arguments = partial(_trl_arguments, columns=columns, conversational=conversational)
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    if isolation == "remote" and not is_async:
        raise RewardError(f"{name} is remote, so it must be an `async def`; found a plain function: use process")
    config = ConfigDict(extra="forbid", frozen=True)
    return Verifier(
        spec=spec,
        function=_judging(function, arguments, is_async=is_async, floor=score_range[0]),
        parameters=create_model(f"{name} parameters", __config__=config),
        cases=tuple(cases),
        reference=reference,
    )


def _judging(
    function: Callable[..., Any],
    arguments: Callable[[Sequence[Sample]], dict[str, Any]],
    *,
    is_async: bool,
    floor: float,
) -> Callable[[Sequence[Sample]], Any]:
    def judge(samples: Sequence[Sample]) -> list[Verdict]:
        return _verdicts(function(**arguments(samples)), floor=floor)

    async def judge_async(samples: Sequence[Sample]) -> list[Verdict]:
        return _verdicts(await cast("Awaitable[Any]", function(**arguments(samples))), floor=floor)

    return judge_async if is_async else judge


class TrlReward:
    """A verifier with the signature of a TRL reward function; `as_trl` makes it. Pickling it leaves its workers out."""

    def __init__(self, verifier: Verifier, *, params: Mapping[str, Any], gold: str, workers: int) -> None:
        self.__name__ = verifier.spec.name
        self._verifier, self._params = verifier, verifier.validated(params)
        self._gold, self._workers = gold, workers
        self._judges: Executors | None = None

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return one score per completion; None where the verifier has no score.

        Raises:
            RewardError: the verifier broke its contract.
        """
        if self._judges is None:
            self._judges = Executors([self._verifier], workers=self._workers)
        samples = _samples(prompts, completions, completion_ids, columns, gold=self._gold)
        timeout_s = self._verifier.spec.timeout_s
        verdicts = self._judges.judge(self._verifier, samples, params=self._params, timeout_s=timeout_s)
        return [None if Mark.NOT_APPLICABLE in verdict.marks else verdict.score for verdict in verdicts]

    def close(self) -> None:
        """End the worker processes; the next call starts them again."""
        if self._judges is not None:
            self._judges.close()
        self._judges = None

    def __getstate__(self) -> dict[str, Any]:
        # The verifier is pickled by its reference, because its module's name for the function now means the verifier.
        return {**self.__dict__, "_judges": None, "_verifier": self._verifier.reference}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_verifier": load_verifier(state["_verifier"])}


def as_trl(
    verifier: Verifier, *, params: Mapping[str, Any] = MappingProxyType({}), gold: str = "gold", workers: int = 1
) -> TrlReward:
    """Turn a verifier into a function for `GRPOTrainer(reward_funcs=...)`; it keeps its isolation.

    Args:
        verifier: The verifier that judges.
        params: The verifier's parameters.
        gold: The column of the data set that holds the gold; all other columns become `meta`.
        workers: Number of processes, if the verifier runs in processes.

    Raises:
        RewardError: the parameters do not fit.
    """
    return TrlReward(verifier, params=params, gold=gold, workers=workers)


def _trl_arguments(samples: Sequence[Sample], *, columns: Mapping[str, str], conversational: bool) -> dict[str, Any]:
    names = dict.fromkeys(name for sample in samples for name in sample.meta)
    lists = {str(name): [sample.meta.get(name) for sample in samples] for name in names}
    for name, source in columns.items():
        lists[name] = [sample.gold if source == "gold" else sample.meta[source] for sample in samples]
    prompts: list[Any] = [sample.prompt for sample in samples]
    completions: list[Any] = [sample.response for sample in samples]
    if conversational:
        prompts = [[{"role": "user", "content": text}] for text in prompts]
        completions = [[{"role": "assistant", "content": text}] for text in completions]
    own = {
        "prompts": prompts,
        "completions": completions,
        "completion_ids": [[UNKNOWN_TOKEN] * sample.token_count for sample in samples],
        "trainer_state": None,
        "log_extra": _ignored,
        "log_metric": _ignored,
    }
    return {**lists, **own}


def _ignored(*_: object) -> None:
    """Ignore what a reward function logs beside its scores, since a verdict has no place for it."""


def _verdicts(returned: Any, *, floor: float) -> list[Verdict]:
    return [
        Verdict(score=floor, marks=(Mark.NOT_APPLICABLE,), reason="not applicable")
        if score is None
        else Verdict(score=float(score))
        for score in returned
    ]


def _samples(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None,
    columns: Mapping[str, Any],
    *,
    gold: str,
) -> list[Sample]:
    """Turn TRL's lists into samples; adjacent equal prompts form one group."""
    texts = [_text(prompt) for prompt in prompts]
    groups: list[int] = []
    for place, text in enumerate(texts):
        groups.append(groups[-1] if place and text == texts[place - 1] else place)
    rows: dict[str, list[Any]] = {
        name: cast("list[Any]", values)
        for name, values in columns.items()
        if isinstance(values, list) and len(cast("list[Any]", values)) == len(texts)
    }
    return [
        Sample(
            id=f"trl/{place}",
            prompt=texts[place],
            response=_text(completion),
            gold=rows[gold][place] if gold in rows else None,
            meta={name: values[place] for name, values in rows.items() if name != gold},
            token_count=0 if completion_ids is None else len(completion_ids[place]),
            group=f"trl/{groups[place]}",
        )
        for place, completion in enumerate(completions)
    ]


def _text(messages: Any) -> str:
    """Return the content of the last message; a plain text is returned as it is."""
    if isinstance(messages, str):
        return messages
    content = cast("Sequence[Mapping[str, Any]]", messages)[-1]["content"]
    if isinstance(content, str):
        return content
    pieces = cast("Sequence[Mapping[str, Any]]", content)
    return "".join(str(piece.get("text", "")) for piece in pieces)
