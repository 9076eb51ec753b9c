from __future__ import annotations

import flawed_verifiers as flawed
import pytest

from rewards.math import equivalent
from rlpost.errors import RewardError
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Case, Verifier
from rlpost.workbench.metamorphic import probes_of
from rlpost.workbench.self_test import self_test


def kinds_that_failed(verifier: Verifier) -> set[str]:
    return {failure.kind for failure in self_test(verifier).failures}


def test_a_verifier_without_a_flaw_is_asked_about_everything_and_passes() -> None:
    report = self_test(flawed.none)
    assert report.passed, report.failures
    assert report.ran == {
        "accept": 3,
        "reject": 3,
        "adversarial": 3,
        "empty": 2,
        "1 MB": 2,
        "NUL, zero-width, bidi": 5,
        "10,000 braces": 5,
        "ends of thought": 3,
        "gold itself": 3,
        "gold in prose": 3,
        "other golds": 6,
        "gold or another": 9,
        "prompt echo": 3,
        "unreadable gold": 9,
        "three times": 9,
        "thread": 9,
        "pickled": 9,
    }
    assert report.off == {"Ray actor": "only with --ray"}


@pytest.mark.parametrize(
    ("verifier", "kinds"),
    [
        (flawed.hedged, {"gold or another"}),
        (flawed.breaks, {"NUL, zero-width, bidi"}),
        (flawed.blames, {"unreadable gold"}),
        (flawed.fickle, {"three times", "thread", "pickled"}),
        (flawed.pays_for_rome, {"other golds"}),
        (flawed.few_cases, {"reject", "adversarial"}),
    ],
    ids=lambda value: value.spec.name if isinstance(value, Verifier) else "",
)
def test_a_flaw_is_found_by_the_probe_that_is_made_for_it(verifier: Verifier, kinds: set[str]) -> None:
    assert kinds_that_failed(verifier) == kinds


def test_a_failure_tells_response_gold_and_verdict() -> None:
    failure = next(one for one in self_test(flawed.hedged).failures)
    assert (failure.response, failure.gold, failure.why) == (r"\boxed{Paris or Rome}", "Paris", "must score at most 0")
    assert failure.verdict is not None and failure.verdict.score == 1.0


def test_a_kind_that_the_author_declares_off_is_off_with_his_reason() -> None:
    report = self_test(flawed.declared)
    assert report.passed, report.failures
    assert report.off["gold in prose"] == report.off["gold or another"] == "it pays for the gold anywhere"
    assert "gold or another" not in report.ran


def test_an_author_cannot_declare_off_what_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flawed.SELF_TEST_OFF, "flawed.declared", {"gold in verse": "no reason"})
    with pytest.raises(RewardError, match="no probe is called 'gold in verse': did you mean `gold in prose`"):
        probes_of(flawed.declared)


def test_a_verifier_of_form_is_asked_nothing_about_golds() -> None:
    report = self_test(flawed.form)
    assert report.passed, report.failures
    assert report.off["gold itself"] == report.off["unreadable gold"] == "it needs no gold"
    assert report.ran["10,000 braces"] == 5


@pytest.mark.parametrize(
    ("verifier", "reason"),
    [
        (flawed.no_library, "it needs a_library_that_is_not_there: pip install 'rlpost[chem]'"),
        (flawed.no_service, "nobody answers"),
    ],
    ids=["library", "service"],
)
def test_a_verifier_that_cannot_run_here_is_skipped_and_has_not_passed(verifier: Verifier, reason: str) -> None:
    report = self_test(verifier)
    assert (report.skipped, report.passed, report.ran) == (reason, False, {})


def test_more_cases_are_held_to_like_its_own() -> None:
    found = Case(response=r"\boxed{Paris}, perhaps", gold="Paris", expect="adversarial")
    report = self_test(flawed.none, more_cases=[found])
    assert [failure.response for failure in report.failures] == [found.response]
    assert report.ran["adversarial"] == 4


def test_parameters_for_every_case_are_checked() -> None:
    with pytest.raises(RewardError, match="has no parameter `whre`: did you mean `where`"):
        self_test(flawed.none, params={"whre": "auto"})


def test_a_verdict_that_differs_in_a_ray_actor_is_a_failure() -> None:
    def other(verifier: Verifier, samples: object, params: object) -> list[Verdict]:
        return [Verdict(score=0.5)]

    report = self_test(flawed.none, in_ray_actor=other)
    assert {failure.kind for failure in report.failures} == {"Ray actor"}
    assert report.ran["Ray actor"] == 9
    same = self_test(flawed.none, in_ray_actor=lambda verifier, samples, params: [_judged(verifier, samples, params)])
    assert same.passed and same.off == {}


def _judged(verifier: Verifier, samples: object, params: object) -> Verdict:
    assert isinstance(samples, list) and isinstance(samples[0], Sample) and isinstance(params, dict)
    return verifier.judge(samples[0], params=params)


def test_a_shipped_verifier_that_runs_in_a_process_passes() -> None:
    report = self_test(equivalent)
    assert report.passed, report.failures
    assert report.ran["gold itself"] == 7
