"""Tests a verifier without a data set: by its own cases, by the probes that follow from them, and in other
processes.
"""

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
"""Number of cases of each kind that a verifier must ship."""
REPEATS = 3
PLACES_SAMPLES = 3
"""Number of cases of each kind that are judged again in other threads and processes."""

NO_RAY = "only with --ray"
"""The reason shown when the caller asks for no Ray actor."""
Elsewhere = Callable[[Verifier, Sequence[Sample], Mapping[str, Any]], list[Verdict]]
"""Judges samples elsewhere; used for a Ray actor, which this package does not know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One probe or case that a verifier judged wrongly."""

    kind: str
    why: str
    response: str = ""
    gold: Any = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The outcome of a self-test."""

    name: str
    version: str
    ran: Mapping[str, int]
    """Kind -> number of samples judged."""
    failures: tuple[Failure, ...]
    off: Mapping[str, str]
    """Kinds of probe that make no sense for this verifier -> the reason."""
    skipped: str | None
    """The reason why nothing was tested: a library or a service is missing. Such a verifier has not passed."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether everything was tested and judged rightly."""
        return self.skipped is None and not self.failures


def self_test(
    verifier: Verifier,
    *,
    more_cases: Sequence[Case] = (),
    params: Mapping[str, Any] | None = None,
    in_ray_actor: Elsewhere | None = None,
) -> Report:
    """Judge the verifier's cases and the probes that follow from them.

    Args:
        verifier: The verifier to test.
        more_cases: Further cases, for example found by `fuzzing`, which the verifier must satisfy like its own.
        params: Parameters for every case, for example an endpoint; a case's own parameters take precedence.
        in_ray_actor: Judges in a Ray actor; None skips that place.

    Raises:
        RewardError: the verifier broke its contract, for example with a score outside its range.
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
    """Report a verifier that cannot be loaded."""
    failure = Failure(kind="loading", why=why)
    return Report(name=name, version="?", ran={}, failures=(failure,), off={}, skipped=None, seconds=0.0)


def with_params(verifier: Verifier, params: Mapping[str, Any]) -> Verifier:
    """Return the same verifier with these parameters added to all its cases; a case's own parameters take precedence.

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
    """Golds that are rewarded for each other are one gold in two spellings; a gold rewarded in one direction is a
    failure.
    """
    paid = {probe.pair for probe, verdict in crossed if probe_failure(verifier, probe, verdict) is not None}
    for probe, verdict in crossed:
        assert probe.pair is not None
        why = None
        if probe.pair in paid and probe.pair[::-1] not in paid:
            why = "must not pay for the answer to another case"
        tally.add(probe.kind, why, sample=probe.sample, params=probe.params, verdict=verdict)


def _places(judge: VerifierRunner, tally: _Tally, in_ray_actor: Elsewhere | None) -> Mapping[str, str]:
    """Compare verdicts on the same case: three times here, from another thread, through pickles, and in a Ray actor."""
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
    """Return place -> verdicts on one case, which must all be equal; the first place is this thread."""
    sample, params = case.sample(), judge.verifier.validated(case.params)
    here = judge([sample], params=params)
    places = {"three times": here + judge([sample] * (REPEATS - 1), params=params)}
    with ThreadPoolExecutor(max_workers=1) as thread:
        places["thread"] = here + thread.submit(judge, [sample], params=params).result()
    # This unpickles only what this process has just pickled.
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
    """The parts of a verdict that must be equal: everything except the milliseconds."""
    return (verdict.score, verdict.fault, verdict.parsed, dict(verdict.parts), verdict.tags, verdict.marks)
