from __future__ import annotations

import random
from itertools import islice

import flawed_verifiers as flawed
import pytest

from rewards.math import equivalent
from rewards.text import exact
from rlpost.scoring.authoring import Verifier
from rlpost.workbench.fuzzing import FuzzReport, attacks, fuzz
from rlpost.workbench.verifier_runner import VerifierRunner


def fuzzed(verifier: Verifier, *, most: int, seed: int = 0) -> FuzzReport:
    with VerifierRunner(verifier, workers=1) as judge:
        return fuzz(judge, seconds=30, seed=seed, most=most)


@pytest.mark.parametrize("verifier", [exact, flawed.none], ids=["text.exact", "flawed.none"])
def test_verifiers_without_a_known_flaw_stand(verifier: Verifier) -> None:
    report = fuzzed(verifier, most=3000)
    assert report.findings == ()
    assert sum(report.tried.values()) >= 3000
    assert {"hedge", "stuffing", "relation", "huge", "nesting", "gold in prose", "hidden characters"} <= set(
        report.tried
    )


def test_math_stands_and_no_attack_costs_its_deadline() -> None:
    report = fuzzed(equivalent, most=300)
    assert (report.findings, report.broken) == ((), 0)
    assert report.seconds < 30


def test_a_flaw_is_found_and_made_small() -> None:
    finding = fuzzed(flawed.hedged, most=500).findings[0]
    assert finding.verdict.score == 1.0
    gold = finding.attack.case.gold
    assert finding.response.startswith(rf"\boxed{{{gold}")
    assert len(finding.response) <= len(r"\boxed{Paris+1^{9^{9^{9}}}}")
    assert "must score at most 0" in finding.why


def test_findings_come_smallest_first_and_once_a_kind() -> None:
    findings = fuzzed(flawed.hedged, most=2000).findings
    assert len(findings) >= 3
    assert [len(finding.response) for finding in findings] == sorted(len(finding.response) for finding in findings)
    assert len({finding.attack.kind for finding in findings}) == len(findings)


def test_equal_seeds_make_equal_attacks() -> None:
    first, again, other = (
        [attack.response(exact) for attack in islice(attacks(exact, random.Random(seed)), 50)] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_what_breaks_a_verifier_is_counted_and_is_no_finding() -> None:
    report = fuzzed(flawed.declared, most=200)
    assert report.broken == 0 and report.findings
    # The hidden characters of the grammar have no NUL, so this flaw is the self-test's to find.
    assert fuzzed(flawed.breaks, most=200).broken == 0


def test_a_verifier_of_form_cannot_be_attacked_from_its_cases() -> None:
    assert fuzzed(flawed.form, most=10).tried == {}
