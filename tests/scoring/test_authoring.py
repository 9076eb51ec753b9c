from __future__ import annotations

import pytest
from probe_verifiers import obedient, same

from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, case_failure, verifier


def test_parameters_are_checked_and_completed_from_the_signature() -> None:
    assert same.validated({}) == {"scale": 1.0, "mode": "plain"}
    assert same.validated({"scale": 2}) == {"scale": 2.0, "mode": "plain"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scal": 1}, r"probe\.same has no parameter `scal`: did you mean `scale`\?"),
        ({"zzz": 1}, "it takes scale, mode"),
        ({"scale": "much"}, "scale: Input should be a valid number"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, object], message: str) -> None:
    with pytest.raises(RewardError, match=message):
        same.validated(params)


def test_a_signature_that_recipes_could_not_fill_is_refused() -> None:
    def positional(sample: Sample, scale: float = 1.0) -> float:
        return scale

    def untyped(sample: Sample, *, scale=1.0) -> float:
        return scale

    for function in (positional, untyped):
        with pytest.raises(RewardError, match=r"keyword-only with a type and a default.*scale"):
            verifier(name="bad", version="1", isolation="inline")(function)


def test_a_verifier_that_no_worker_could_import_is_refused() -> None:
    def local(sample: Sample) -> float:
        return 1.0

    with pytest.raises(RewardError, match="top level of a module"):
        verifier(name="bad", version="1")(local)


def test_a_missing_gold_is_a_gold_fault_before_the_function_runs() -> None:
    verdict = same.judge(Sample(id="s", prompt="", response="1"), params={})
    assert verdict.fault is Fault.GOLD
    assert "the row has no gold" in verdict.reason


def test_a_score_outside_the_declared_range_is_the_authors_error() -> None:
    sample = Sample(id="row/3", prompt="", response="1", gold="1")
    with pytest.raises(RewardError, match=r"within \[0, 1\]; it gave 2\.0 to sample row/3"):
        same.judge(sample, params={"scale": 2.0})


def test_the_reference_names_what_a_worker_imports() -> None:
    assert obedient.reference == "probe_verifiers:obedient"


@pytest.mark.parametrize(
    ("expect", "at_most", "verdict", "holds"),
    [
        ("accept", 0.0, Verdict(score=1.0), True),
        ("accept", 0.0, Verdict(score=0.9), False),
        ("reject", 0.0, Verdict(score=0.0), True),
        ("reject", 0.0, Verdict(score=0.1), False),
        ("reject", 0.2, Verdict(score=0.1), True),
        ("adversarial", 0.0, Verdict(fault=Fault.POLICY), True),
        ("adversarial", 0.0, Verdict(fault=Fault.GOLD), False),
        ("accept", 0.0, Verdict(fault=Fault.POLICY), False),
    ],
)
def test_what_a_case_expects(expect, at_most: float, verdict: Verdict, holds: bool) -> None:
    failure = case_failure(same, Case(response="a", expect=expect, at_most=at_most), verdict=verdict)
    assert (failure is None) == holds
