"""Everything that the author of a verifier imports: `@verifier`, `Case`, and nothing that is slow to import.

    @verifier(name="text.same", version="1", isolation="inline", cases=CASES)
    def same(sample: Sample, *, casefold: bool = False) -> float:
        '''1 when the response is the gold text.'''
        ...

`@verifier` decorates one of these:

- a function of one sample (`per="sample"`), of up to `largest_batch` samples (`per="batch"`), or of all samples of one
  prompt (`per="group"`); the latter two take a sequence of samples and return one verdict per sample, in the same
  order;
- the same as an `async def`, so that several calls can wait at the same time;
- a class whose `__init__` takes the keyword parameters and whose `__call__` takes the sample or samples. One instance
  is made per process and set of parameters, which suits expensive preparation.

A verifier must be a pure function of the sample and its parameters, because verdicts are cached unless
`deterministic=False`. Heavy libraries are imported inside the function, so that `rlpost check` can name verifiers
without loading them. A worker loads them at its start, when it judges the verifier's first accepted case.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Literal, cast

from pydantic import BaseModel

from rlpost.errors import RewardError
from rlpost.parameters import parameter_model, validated
from rlpost.records import Fault, FinishReason, Sample, Verdict
from rlpost.score_comparison import exceeds, reaches

Isolation = Literal["inline", "process", "sandbox", "remote"]
"""The place where a verifier runs. `inline`: in the caller's process, for code that cannot hang or crash on any text.
`process`: in a worker process that is killed at the deadline. `sandbox`: also in such a worker, for a verifier that
runs model-written programs through `rlpost.sandbox`; the run is refused on a machine where the sandbox does not contain
them. `remote`: an `async def` in the caller's process that waits for a service; a missed deadline is then an infra
fault."""
Per = Literal["sample", "batch", "group"]
Function = Callable[..., Any]
Expectation = Literal["accept", "reject", "adversarial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    r"""One example of how a verifier must judge. It serves as documentation, as a test, and as a worker's self-test.

    Example: `Case(response=r"\boxed{5=7}", gold="7", expect="adversarial", note="an equation is not an answer")`.
    """

    response: str
    gold: Any = None
    expect: Expectation
    """`accept`: must get the top score. `reject`: an honest wrong answer. `adversarial`: an attempt to be rewarded
    without an answer."""
    note: str = ""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    finish: FinishReason = "stop"
    at_most: float = 0.0
    """Largest score that a case which is not accepted may get; a policy fault counts as the verifier's floor score."""

    def sample(self) -> Sample:
        """The sample that a verifier gets for this case."""
        return Sample(id="case", prompt="", response=self.response, gold=self.gold, meta=self.meta, finish=self.finish)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifierSpec:
    """Everything that the runtime must know about a verifier."""

    name: str
    version: str
    """Changes whenever a verdict may change; every verdict is stamped with it."""
    isolation: Isolation
    per: Per
    """The samples of one call: a single sample, up to `largest_batch` samples, or all samples of one prompt."""
    timeout_s: float
    """Wall-clock limit of one call; has no effect on an inline verifier."""
    memory_mib: int
    """Address space of a worker, its libraries included; has no effect on inline and remote verifiers."""
    largest_batch: int
    """Most samples per call if `per` is `batch`; most concurrent calls if the verifier is remote."""
    deterministic: bool
    """Whether equal samples get equal verdicts; if not, verdicts are not cached."""
    extra: str | None
    """The pip extra of rlpost (`chem` for `rlpost[chem]`), or the distribution, that installs `modules`."""
    modules: tuple[str, ...]
    """Modules that must be importable; they are looked up, but not imported, before anything starts."""
    requires: tuple[str, ...]
    """`gold`, or keys of `sample.meta`. A sample that lacks one gets a gold fault, and the function is not called for
    it."""
    score_range: tuple[float, float]

    @property
    def stamp(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def floor(self) -> float:
        """The score of a sample whose text broke the verifier (a policy fault)."""
        return self.score_range[0]


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """A verifier as the runtime holds it. `@verifier` makes it; `registry.resolve` finds it."""

    spec: VerifierSpec
    function: Function
    """The decorated function, or class."""
    parameters: type[BaseModel]
    """A pydantic model of the keyword parameters."""
    cases: tuple[Case, ...]
    reference: str
    """The `module:name` under which another process imports this object."""

    @property
    def is_async(self) -> bool:
        """Whether a call returns an awaitable."""
        function: Any = self.function
        return inspect.iscoroutinefunction(function.__call__ if inspect.isclass(function) else function)

    def missing_modules(self) -> tuple[str, ...]:
        """The modules that the verifier needs and this environment lacks."""
        return tuple(name for name in self.spec.modules if find_spec(name.partition(".")[0]) is None)

    def validated(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check the types of the given parameters and fill in the defaults of the others.

        Raises:
            RewardError: a parameter does not exist or has the wrong type.
        """
        return validated(self.parameters, params, name=self.spec.name, error=RewardError)

    def judge(self, sample: Sample, *, params: Mapping[str, Any]) -> Verdict:
        """Judge one sample in one call, as a group of its own if the verifier judges groups. See `judge_together`."""
        return self.judge_together([sample], params=params)[0]

    def judge_together(self, samples: Sequence[Sample], *, params: Mapping[str, Any]) -> list[Verdict]:
        """Call the function once, in this process and without protection, and check that the answer keeps the contract.

        Takes one sample for a verifier of one sample, otherwise all samples; those that lack a required column are left
        out of the call. Waits for an awaitable. An exception of the function passes through, and the runtime decides
        what it means.

        Raises:
            RewardError: the function returned something that is not a verdict, or a score outside its range.
        """
        asked = [sample for sample in samples if not self._missing_columns(sample)]
        answers = self.call(asked, params=params) if asked else []
        if inspect.isawaitable(answers):
            answers = asyncio.run(_awaited(answers))
        return self.held_to_contract(samples, answers)

    async def judge_together_async(self, samples: Sequence[Sample], *, params: Mapping[str, Any]) -> list[Verdict]:
        """Do the same as `judge_together` for an `async def`, on the running event loop."""
        asked = [sample for sample in samples if not self._missing_columns(sample)]
        answers = await cast("Awaitable[Any]", self.call(asked, params=params)) if asked else []
        return self.held_to_contract(samples, answers)

    def call(self, samples: Sequence[Sample], *, params: Mapping[str, Any]) -> Any:
        """Call the function and return its result, or an awaitable of the result."""
        if self.spec.per == "sample":
            assert len(samples) == 1, f"{self.spec.name} judges one sample a call, not {len(samples)}"
        judged: Any = samples[0] if self.spec.per == "sample" else samples
        if not inspect.isclass(self.function):
            return self.function(judged, **params)
        key = json.dumps(dict(params), sort_keys=True, default=repr)
        if key not in self._instances:
            self._instances[key] = self.function(**params)
        return self._instances[key](judged)

    def held_to_contract(self, samples: Sequence[Sample], answers: Any) -> list[Verdict]:
        """Turn the answer of a call into one verdict per sample; samples that were left out of the call get a gold
        fault.

        Raises:
            RewardError: see `judge_together`.
        """
        missing = [self._missing_columns(sample) for sample in samples]
        returned = [answers] if self.spec.per == "sample" and not any(missing) else list(answers)
        if len(returned) != missing.count([]):
            raise RewardError(
                f"{self.spec.name} must return one verdict for each of its {missing.count([])} samples; found "
                f"{len(returned)}"
            )
        given = iter(returned)
        return [
            Verdict(fault=Fault.GOLD, reason=f"the row has no {', '.join(lacking)}, which {self.spec.name} needs")
            if lacking
            else self._verdict(next(given), sample)
            for sample, lacking in zip(samples, missing, strict=True)
        ]

    @cached_property
    def _instances(self) -> dict[str, Any]:
        return {}

    def _missing_columns(self, sample: Sample) -> list[str]:
        return [key for key in self.spec.requires if _column(sample, key) is None]

    def _verdict(self, result: object, sample: Sample) -> Verdict:
        verdict = result if isinstance(result, Verdict) else Verdict(score=self._number(result))
        low, high = self.spec.score_range
        if verdict.score is None or low <= verdict.score <= high:
            return verdict
        if not reaches(verdict.score, low) or exceeds(verdict.score, high):
            raise RewardError(
                f"{self.spec.name} must score within [{low:g}, {high:g}]; it gave {verdict.score!r} to sample "
                f"{sample.id}: correct the verifier, or declare another score_range"
            )
        # A sum of parts that is the bound on paper, and was rounded past it.
        return replace(verdict, score=min(high, max(low, verdict.score)))

    def _number(self, result: object) -> float:
        if isinstance(result, int | float) and math.isfinite(result):
            return float(result)
        raise RewardError(f"{self.spec.name} must return a Verdict or a finite number; found {result!r:.200}")


def verifier(
    *,
    name: str,
    version: str,
    isolation: Isolation = "process",
    per: Per = "sample",
    timeout_s: float = 5.0,
    memory_mib: int = 1024,
    largest_batch: int = 32,
    requires: Sequence[str] = ("gold",),
    score_range: tuple[float, float] = (0.0, 1.0),
    deterministic: bool = True,
    extra: str | None = None,
    modules: Sequence[str] = (),
    cases: Sequence[Case] = (),
) -> Callable[[Function], Verifier]:
    """Turn `f(sample, *, keyword parameters with type and default) -> Verdict | float` into a `Verifier`.

    This module's docstring lists the other forms; the arguments are the fields of `VerifierSpec`.

    Raises:
        RewardError: the signature does not have that form, a worker could not import the function, or it is remote and
            not async.
    """
    spec = VerifierSpec(
        name=name,
        version=version,
        isolation=isolation,
        per=per,
        timeout_s=timeout_s,
        memory_mib=memory_mib,
        largest_batch=largest_batch,
        requires=tuple(requires),
        score_range=score_range,
        deterministic=deterministic,
        extra=extra,
        modules=tuple(modules),
    )

    def decorate(function: Function) -> Verifier:
        if isolation in ("process", "sandbox") and "<locals>" in function.__qualname__:
            raise RewardError(
                f"{name} must stand at the top level of a module, where a worker process can import it; found "
                f"{function.__qualname__}: move it there, or declare isolation='inline'"
            )
        made = Verifier(
            spec=spec,
            function=function,
            parameters=parameter_model(function, name=name, given=(), error=RewardError),
            cases=tuple(cases),
            reference=f"{function.__module__}:{function.__name__}",
        )
        if isolation == "remote" and not made.is_async:
            raise RewardError(
                f"{name} is remote, so it must be an `async def`, whose wait can be ended at the deadline; found a "
                f"plain `def`: write `async def {function.__name__}` and await the service's client"
            )
        return made

    return decorate


def case_failure(verifier: Verifier, case: Case, *, verdict: Verdict) -> str | None:
    """Explain how this verdict differs from what the case expects; None if it does not."""
    score = verifier.spec.floor if verdict.score is None else verdict.score
    accepted = verdict.fault is None and reaches(score, verifier.spec.score_range[1])
    refused = verdict.fault in (None, Fault.POLICY) and not exceeds(score, case.at_most)
    if accepted if case.expect == "accept" else refused:
        return None
    wanted = "the top score" if case.expect == "accept" else f"at most {case.at_most:g}"
    return (
        f"{verifier.spec.name} on {case.response!r:.200} (gold {case.gold!r:.100}) must give {wanted}; it gave "
        f"score {verdict.score!r}, fault {verdict.fault!r}, reason {verdict.reason!r}"
    )


def _column(sample: Sample, key: str) -> Any:
    return sample.gold if key == "gold" else sample.meta.get(key)


async def _awaited(answers: Awaitable[Any]) -> Any:
    return await answers


__all__ = ["Case", "Verifier", "VerifierSpec", "case_failure", "verifier"]
