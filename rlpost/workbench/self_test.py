"""All that can be asked of a verifier without a data set: its own cases, what follows from them, and where it runs."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Case, Verifier, case_failure
from rlpost.scoring.registry import load_verifier
from rlpost.scoring.requirements import why_it_cannot_run
from rlpost.workbench.metamorphic import Probe, probe_failure, probes_of
from rlpost.workbench.verifier_runner import VerifierRunner, why_it_is_not_served, why_it_is_not_set_up

OWN_KINDS = ("accept", "reject", "adversarial")
LEAST_CASES = 3
"""Of each kind, that a verifier ships."""
REPEATS = 3
PLACES_SAMPLES = 3
"""Cases of each kind that are judged again in other places."""

NO_RAY = "only with --ray"
"""Why nothing is judged in a Ray actor, where nobody asked for it."""
Elsewhere = Callable[[Verifier, Sequence[Sample], Mapping[str, Any]], list[Verdict]]
"""Judges samples in another place; used for a Ray actor, which this package knows nothing about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One question that a verifier answered wrongly."""

    kind: str
    why: str
    response: str = ""
    gold: Any = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a self-test found."""

    name: str
    version: str
    ran: Mapping[str, int]
    """Kind -> questions asked."""
    failures: tuple[Failure, ...]
    off: Mapping[str, str]
    """Kinds that mean nothing for this verifier, and why."""
    skipped: str | None
    """Why nothing was asked: a library or a service is not here. Such a verifier has not passed."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether everything was asked and answered rightly."""
        return self.skipped is None and not self.failures


def self_test(
    verifier: Verifier,
    *,
    more_cases: Sequence[Case] = (),
    params: Mapping[str, Any] | None = None,
    in_ray_actor: Elsewhere | None = None,
) -> Report:
    """Judge the verifier's cases and what follows from them.

    Args:
        verifier: What is tested.
        more_cases: Cases from elsewhere, for example found by `fuzzing`, held to as if they were its own.
        params: For every case, below its own; an endpoint, for example.
        in_ray_actor: judges in a Ray actor; None leaves that place out.

    Raises:
        RewardError: the verifier broke its contract, for example by a score outside its range.
    """
    started = time.monotonic()
    tally = _Tally()
    off: Mapping[str, str] = {}
    skipped = why_it_cannot_run(verifier)
    tested = with_params(verifier, params or {})
    skipped = skipped or why_it_is_not_set_up(tested)
    if skipped is None:
        with VerifierRunner(tested, workers=1) as judge:
            skipped = why_it_is_not_served(judge)
            if skipped is None:
                _own_cases(judge, more_cases, tally)
                off = _probes(judge, tally)
                off = {**off, **_places(judge, tally, in_ray_actor)}
    return Report(
        name=verifier.spec.name,
        version=verifier.spec.version,
        ran=dict(tally.ran),
        failures=tuple(tally.failures),
        off=off,
        skipped=skipped,
        seconds=time.monotonic() - started,
    )


def broken(name: str, why: str) -> Report:
    """The report on a verifier that cannot be loaded."""
    failure = Failure(kind="loading", why=why)
    return Report(name=name, version="?", ran={}, failures=(failure,), off={}, skipped=None, seconds=0.0)


def with_params(verifier: Verifier, params: Mapping[str, Any]) -> Verifier:
    """The same verifier, whose cases have these parameters below their own.

    Raises:
        RewardError: a parameter does not exist or has the wrong type.
    """
    if not params:
        return verifier
    verifier.validated(params)
    cases = tuple(replace(case, params={**params, **case.params}) for case in verifier.cases)
    return replace(verifier, cases=cases)


class _Tally:
    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.failures: list[Failure] = []

    def add(
        self, kind: str, why: str | None, *, sample: Sample, params: Mapping[str, Any], verdict: Verdict | None
    ) -> None:
        self.ran[kind] += 1
        if why is not None:
            self.failures.append(
                Failure(kind=kind, why=why, response=sample.response, gold=sample.gold, params=params, verdict=verdict)
            )


def _own_cases(judge: VerifierRunner, more: Sequence[Case], tally: _Tally) -> None:
    verifier = judge.verifier
    counts = Counter(case.expect for case in verifier.cases)
    for kind in OWN_KINDS:
        if counts[kind] < LEAST_CASES:
            why = f"ships {counts[kind]} cases of this kind; it must ship at least {LEAST_CASES}"
            tally.failures.append(Failure(kind=kind, why=why))
    for case in (*verifier.cases, *more):
        verdict = judge.case(case)
        failure = case_failure(verifier, case, verdict=verdict)
        wanted = "must get the top score" if case.expect == "accept" else f"must get at most {case.at_most:g}"
        tally.add(
            case.expect, None if failure is None else wanted, sample=case.sample(), params=case.params, verdict=verdict
        )


def _probes(judge: VerifierRunner, tally: _Tally) -> Mapping[str, str]:
    made = probes_of(judge.verifier)
    crossed: list[tuple[Probe, Verdict]] = []
    for probe in made.probes:
        verdict = judge([probe.sample], params=judge.verifier.validated(probe.params))[0]
        if probe.pair is not None:
            crossed.append((probe, verdict))
        else:
            why = probe_failure(judge.verifier, probe, verdict)
            tally.add(probe.kind, why, sample=probe.sample, params=probe.params, verdict=verdict)
    _crossed(judge.verifier, crossed, tally)
    return made.off


def _crossed(verifier: Verifier, crossed: Sequence[tuple[Probe, Verdict]], tally: _Tally) -> None:
    """Golds that pay for each other's answers are one gold written in two ways; one that pays alone is wrong."""
    paid = {probe.pair for probe, verdict in crossed if probe_failure(verifier, probe, verdict) is not None}
    for probe, verdict in crossed:
        assert probe.pair is not None
        why = None
        if probe.pair in paid and probe.pair[::-1] not in paid:
            why = "must not pay for the answer to another case"
        tally.add(probe.kind, why, sample=probe.sample, params=probe.params, verdict=verdict)


def _places(judge: VerifierRunner, tally: _Tally, in_ray_actor: Elsewhere | None) -> Mapping[str, str]:
    """The same verdicts three times, from another thread, through pickles, and in a Ray actor."""
    verifier = judge.verifier
    off = {} if in_ray_actor is not None else {"Ray actor": NO_RAY}
    if load_verifier(verifier.reference).spec != verifier.spec:
        why = f"{verifier.reference}, where another process looks for it, is another verifier"
        tally.failures.append(Failure(kind="pickled", why=why))
    if not verifier.spec.deterministic:
        why = "it says itself that it is not deterministic"
        return {**off, "three times": why, "thread": why, "pickled": why, "Ray actor": why}
    for case in _a_few_of_each_kind(verifier):
        for kind, verdicts in _elsewhere(judge, case, in_ray_actor).items():
            first = verdicts[0]
            different = next((verdict for verdict in verdicts if _meaning(verdict) != _meaning(first)), None)
            why = None if different is None else f"must give what it gave before: {_meaning(first)}"
            tally.add(kind, why, sample=case.sample(), params=case.params, verdict=different)
    return off


def _elsewhere(judge: VerifierRunner, case: Case, in_ray_actor: Elsewhere | None) -> dict[str, list[Verdict]]:
    """Place -> verdicts on one case that must all be equal; the first is that of this thread."""
    sample, params = case.sample(), judge.verifier.validated(case.params)
    here = judge([sample], params=params)
    places = {"three times": here + judge([sample] * (REPEATS - 1), params=params)}
    with ThreadPoolExecutor(max_workers=1) as thread:
        places["thread"] = here + thread.submit(judge, [sample], params=params).result()
    # Only what this process has pickled itself is unpickled.
    travelled: Sample = pickle.loads(pickle.dumps(sample))
    places["pickled"] = here + pickle.loads(pickle.dumps(judge([travelled], params=params)))
    if in_ray_actor is not None:
        places["Ray actor"] = here + in_ray_actor(judge.verifier, [sample], params)
    return places


def _a_few_of_each_kind(verifier: Verifier) -> list[Case]:
    return [
        case for kind in OWN_KINDS for case in [case for case in verifier.cases if case.expect == kind][:PLACES_SAMPLES]
    ]


def _meaning(verdict: Verdict) -> tuple[Any, ...]:
    """What must be equal: everything but the milliseconds."""
    return (verdict.score, verdict.fault, verdict.parsed, dict(verdict.parts), verdict.tags)
