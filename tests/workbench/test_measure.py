from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice

import flawed_verifiers as flawed
import pytest

from rewards.math import equivalent
from rewards.text import exact
from rlpost.workbench import measure
from rlpost.workbench.verifier_runner import VerifierRunner


def test_the_mix_has_the_asked_share_of_answers_that_never_end() -> None:
    mix = islice(measure.realistic_mix(equivalent, pathological=0.1, rng=random.Random(0)), 4000)
    endless = sum(any(text in sample.response for text in measure.PATHOLOGICAL_ANSWERS) for sample, _ in mix)
    assert endless / 4000 == pytest.approx(0.1, abs=0.03)


def test_samples_differ_so_that_no_cache_answers_for_the_verifier() -> None:
    samples = [
        sample for sample, _ in islice(measure.realistic_mix(equivalent, pathological=0, rng=random.Random(0)), 400)
    ]
    assert len({sample.response for sample in samples}) > 350
    assert len({str(sample.gold) for sample in samples}) > 100


def test_other_numbers_leave_most_right_answers_right() -> None:
    mix = list(islice(measure.realistic_mix(flawed.none, pathological=0, rng=random.Random(0)), 300))
    with VerifierRunner(flawed.none, workers=1) as judge:
        paid = sum(
            verdict.score or 0 for verdict in judge([sample for sample, _ in mix], params=flawed.none.validated({}))
        )
    assert 0.4 < paid / 300 < 0.6  # three of its six honest cases are right


def test_figures_are_of_the_verifier_and_its_bar() -> None:
    measured = measure.measure(exact, seconds=0.2, workers=1, pathological=0.005, seed=0)
    assert (measured.name, measured.version, measured.bar) == ("text.exact", "2", 20_000)
    assert measured.per_second == pytest.approx(measured.samples / measured.seconds)
    assert 0 < measured.p50_ms <= measured.p99_ms
    assert (measured.policy_faults, measured.infra_faults, measured.batch_seconds) == (0, 0, None)


def test_a_bar_is_met_or_missed_and_without_one_there_is_no_answer() -> None:
    measured = measure.measure(flawed.none, seconds=0.1, workers=1, pathological=0, seed=0)
    assert (measured.bar, measured.met) == (None, None)
    assert replace(measured, bar=measured.per_second / 2).met is True
    assert replace(measured, bar=measured.per_second * 2).met is False
    assert replace(measured, batch_bar=8.0, batch_seconds=7.9).met is True
    assert replace(measured, batch_bar=8.0, batch_seconds=8.1).met is False
