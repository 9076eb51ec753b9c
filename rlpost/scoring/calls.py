"""Which samples go into one call of a verifier, and which samples get the fault when such a call breaks.

A call of several samples that hangs or crashes does not say which sample caused it. Each sample is therefore judged
alone, under its own deadline; a sample that breaks the verifier alone gets a policy fault. In a batch, the other
samples keep the verdicts that they got alone. In a group, the others are judged once more as a group without the guilty
sample. If no sample breaks the verifier alone, the whole group gets the policy fault: all its samples then have the
same score, which trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import VerifierSpec

Answer = list[Verdict] | Verdict
"""One verdict per sample, or the single fault in which the whole call ended."""
Plan = Generator[Sequence[Sample], Answer, list[Verdict]]
"""Yields the samples of a call, receives the call's answer, and returns one verdict for each sample it was made for."""


def calls_of(spec: VerifierSpec, samples: Sequence[Sample], *, most: int) -> list[list[int]]:
    """Return, for each call, the positions of its samples: at most `most` in a call if the verifier judges batches.

    A sample without a group counts as its own group.
    """
    if spec.per == "sample":
        return [[place] for place in range(len(samples))]
    if spec.per == "batch":
        size = max(1, min(spec.largest_batch, most))
        return [list(range(start, min(start + size, len(samples)))) for start in range(0, len(samples), size)]
    groups: dict[str | int, list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault(sample.group or place, []).append(place)
    return list(groups.values())


def blame(spec: VerifierSpec, samples: Sequence[Sample]) -> Plan:
    """Plan the calls that judge these samples, which belong in one call; the plan itself makes no call."""
    answer = yield samples
    if isinstance(answer, list):
        return answer
    if len(samples) == 1 or answer.fault is not Fault.POLICY:
        return [answer] * len(samples)
    alone: list[Verdict] = []
    for sample in samples:
        alone.append(_only((yield [sample])))
    if spec.per != "group":
        return alone
    innocent = [place for place, verdict in enumerate(alone) if verdict.fault is not Fault.POLICY]
    if not innocent or len(innocent) == len(samples):
        return [answer] * len(samples)
    again = yield [samples[place] for place in innocent]
    verdicts = [again] * len(innocent) if isinstance(again, Verdict) else again
    for place, verdict in zip(innocent, verdicts, strict=True):
        alone[place] = verdict
    return alone


def follow(plan: Plan, call: Callable[[Sequence[Sample]], Answer]) -> list[Verdict]:
    """Make the calls of a plan one after another."""
    asked = next(plan)
    while True:
        try:
            asked = plan.send(call(asked))
        except StopIteration as done:
            verdicts: list[Verdict] = done.value
            return verdicts


def _only(answer: Answer) -> Verdict:
    return answer if isinstance(answer, Verdict) else answer[0]
