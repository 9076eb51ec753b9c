"""What the author of a verifier imports: `@verifier`, `Case`, and nothing that takes time to load.

    @verifier(name="text.same", version="1", isolation="inline", cases=CASES)
    def same(sample: Sample, *, casefold: bool = False) -> float:
        '''1 when the response is the gold text.'''
        ...

A verifier is a pure function of the sample and its parameters: verdicts are cached. Heavy libraries are imported inside
the function, so that `rlpost check` can name verifiers without loading them; a worker loads them at its start by
judging the first case that must be accepted.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from rlpost.errors import RewardError
from rlpost.records import Fault, FinishReason, Sample, Verdict

Isolation = Literal["process", "inline"]
Expectation = Literal["accept", "reject", "adversarial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    r"""One example of what a verifier must do; it is documentation, a test, and a worker's self-test at once.

    Example: `Case(response=r"\boxed{5=7}", gold="7", expect="adversarial", note="an equation is not an answer")`.
    """

    response: str
    gold: Any = None
    expect: Expectation
    """`accept`: the top score. `reject`: an honest wrong answer. `adversarial`: an attempt to be paid for nothing."""
    note: str = ""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    finish: FinishReason = "stop"
    at_most: float = 0.0
    """Largest score that a case which is not accepted may get; a policy fault counts as the floor."""

    def sample(self) -> Sample:
        """The case as a verifier sees it."""
        return Sample(id="case", prompt="", response=self.response, gold=self.gold, meta=self.meta, finish=self.finish)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifierSpec:
    """What the runtime must know about a verifier."""

    name: str
    version: str
    """Changes whenever a verdict may change; stamped on every verdict."""
    isolation: Isolation
    """`process`: in a worker that is killed at the deadline. `inline`: in the caller's process, for code that cannot
    hang or crash whatever the text."""
    timeout_s: float
    """Wall-clock limit of one sample; no effect inline."""
    memory_mib: int
    """Address space of a worker, its libraries included; no effect inline."""
    requires: tuple[str, ...]
    """`gold`, or keys of `sample.meta`; a sample without them gets a gold fault before the function is called."""
    score_range: tuple[float, float]

    @property
    def stamp(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def floor(self) -> float:
        """The score of a sample whose own text broke the verifier."""
        return self.score_range[0]


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """A verifier as the runtime holds it. Made by `@verifier`; found by `registry.resolve`."""

    spec: VerifierSpec
    function: Callable[..., Verdict | float]
    parameters: type[BaseModel]
    """A pydantic model of the function's keyword parameters."""
    cases: tuple[Case, ...]

    @property
    def reference(self) -> str:
        """`module:name`, by which another process imports this object."""
        return f"{self.function.__module__}:{self.function.__name__}"

    def validated(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with their types checked and defaults filled in.

        Raises:
            RewardError: a parameter does not exist or has the wrong type.
        """
        known = self.parameters.model_fields
        for name in params:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(known) or 'none'}"
                raise RewardError(f"{self.spec.name} has no parameter `{name}`: {hint}")
        try:
            model = self.parameters.model_validate(dict(params))
        except ValidationError as error:
            details = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
            raise RewardError(f"parameters of {self.spec.name} do not fit: {details}") from error
        return {name: getattr(model, name) for name in known}

    def judge(self, sample: Sample, *, params: Mapping[str, Any]) -> Verdict:
        """Call the function in this process, without protection, and hold it to its contract.

        Whatever the function raises passes through; the runtime decides what it means.

        Raises:
            RewardError: the function returned something that is not a verdict, or a score outside its range.
        """
        missing = [key for key in self.spec.requires if _column(sample, key) is None]
        if missing:
            reason = f"the row has no {', '.join(missing)}, which {self.spec.name} needs"
            return Verdict(fault=Fault.GOLD, reason=reason)
        result = self.function(sample, **params)
        verdict = result if isinstance(result, Verdict) else Verdict(score=self._number(result))
        low, high = self.spec.score_range
        if verdict.score is not None and not low <= verdict.score <= high:
            raise RewardError(
                f"{self.spec.name} must score within [{low:g}, {high:g}]; it gave {verdict.score!r} to sample "
                f"{sample.id}: correct the verifier, or declare another score_range"
            )
        return verdict

    def _number(self, result: object) -> float:
        if isinstance(result, int | float) and math.isfinite(result):
            return float(result)
        raise RewardError(f"{self.spec.name} must return a Verdict or a finite number; found {result!r:.200}")


def verifier(
    *,
    name: str,
    version: str,
    isolation: Isolation = "process",
    timeout_s: float = 5.0,
    memory_mib: int = 1024,
    requires: Sequence[str] = ("gold",),
    score_range: tuple[float, float] = (0.0, 1.0),
    cases: Sequence[Case] = (),
) -> Callable[[Callable[..., Verdict | float]], Verifier]:
    """Turn `f(sample, *, keyword parameters with type and default) -> Verdict | float` into a `Verifier`.

    Raises:
        RewardError: the function's signature is not of that form, or a worker could not import it.
    """
    spec = VerifierSpec(
        name=name,
        version=version,
        isolation=isolation,
        timeout_s=timeout_s,
        memory_mib=memory_mib,
        requires=tuple(requires),
        score_range=score_range,
    )

    def decorate(function: Callable[..., Verdict | float]) -> Verifier:
        if isolation == "process" and "<locals>" in function.__qualname__:
            raise RewardError(
                f"{name} must stand at the top level of a module, where a worker process can import it; found "
                f"{function.__qualname__}: move it there, or declare isolation='inline'"
            )
        return Verifier(spec=spec, function=function, parameters=_parameter_model(name, function), cases=tuple(cases))

    return decorate


def case_failure(verifier: Verifier, case: Case, *, verdict: Verdict) -> str | None:
    """Why this verdict is not what the case expects; None when it is."""
    score = verifier.spec.floor if verdict.score is None else verdict.score
    accepted = verdict.fault is None and score == verifier.spec.score_range[1]
    refused = verdict.fault in (None, Fault.POLICY) and score <= case.at_most
    if accepted if case.expect == "accept" else refused:
        return None
    wanted = "the top score" if case.expect == "accept" else f"at most {case.at_most:g}"
    return (
        f"{verifier.spec.name} on {case.response!r:.200} (gold {case.gold!r:.100}) must give {wanted}; it gave "
        f"score {verdict.score!r}, fault {verdict.fault!r}, reason {verdict.reason!r}"
    )


def _column(sample: Sample, key: str) -> Any:
    return sample.gold if key == "gold" else sample.meta.get(key)


def _parameter_model(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    sample, *keywords = inspect.signature(function, eval_str=True).parameters.values()
    fields: dict[str, tuple[Any, Any]] = {}
    for parameter in keywords:
        typed = parameter.annotation is not parameter.empty and parameter.default is not parameter.empty
        if parameter.kind is not parameter.KEYWORD_ONLY or not typed:
            raise RewardError(
                f"every parameter of {name} after `{sample.name}` must be keyword-only with a type and a default; "
                f"found `{parameter}`: write `*, {parameter.name}: <type> = <default>`"
            )
        fields[parameter.name] = (parameter.annotation, parameter.default)
    config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    return create_model(f"{name} parameters", __config__=config, **cast("Any", fields))


__all__ = ["Case", "Verifier", "VerifierSpec", "case_failure", "verifier"]
