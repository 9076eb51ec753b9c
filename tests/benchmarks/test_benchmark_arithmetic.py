from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from against_trl import held_against, ratios_to_trl, standard_errors_ahead
from bench import Benchmark, answer_in, bars_in, row_of, run
from trl_settings import START, SWITCHES, Trials, add_combinations, fastest, switches_for
from workloads import WRONG_SHARE, countdown, thinking_tokens, with_wrong_digit


def test_thoughts_are_lognormal_and_fit_into_an_answer() -> None:
    dice = random.Random(0)
    tokens = np.array([thinking_tokens(dice) for _ in range(20_000)])
    assert np.median(tokens) == pytest.approx(18, abs=1)
    assert tokens.mean() == pytest.approx(38, abs=2)  # 18 * exp(1.25**2 / 2) = 39.3, less what the cut takes.
    assert tokens.max() == 480


@pytest.mark.parametrize("tokens", [0, 1, 2, 17, 100, 480])
def test_a_countdown_is_as_long_as_asked_and_counts_down(tokens: int) -> None:
    thought = countdown(tokens)
    numbers = [int(number) for number in thought.split(",") if number]
    assert all(before - after == 1 for before, after in pairwise(numbers))
    assert numbers[-1:] in ([], [1])
    assert tokens - 4 < len(thought) <= tokens or len(thought) == tokens == 0


def test_a_wrong_demonstration_has_another_last_digit() -> None:
    dice = random.Random(0)
    spoilt = {with_wrong_digit(r"7+8=15;\boxed{85}", dice) for _ in range(200)}
    assert spoilt == {rf"7+8=15;\boxed{{8{digit}}}" for digit in range(10) if digit != 5}
    assert 0.3 <= 1 - WRONG_SHARE <= 0.7


def test_ratios_compare_runs_of_the_same_round() -> None:
    ours = [{"samples_per_s": 30.0}, {"samples_per_s": 10.0}]
    theirs = [{"samples_per_s": 20.0}, {"samples_per_s": 5.0}]
    assert ratios_to_trl(ours, theirs) == [1.5, 2.0]


def test_a_difference_is_counted_in_its_own_standard_errors() -> None:
    # Variances 0.0001 and 0.0004 over 3 seeds: error sqrt(0.0005 / 3) = 0.01291, difference -0.05.
    assert standard_errors_ahead([0.69, 0.70, 0.71], [0.73, 0.75, 0.77]) == pytest.approx(-3.87)


def test_bars_are_found_wherever_an_answer_has_them() -> None:
    passed, missed = held_against(1.2, bar=1.0), held_against(0.9, bar=1.0)
    found = [{"workload": "a", "bars": {"one": passed}}, {"sizes": [{"bars": {"two": missed}}]}]
    assert bars_in(found) == {"one": passed, "two": missed}


def test_a_row_says_which_side_of_the_bar_is_good() -> None:
    assert row_of("speed", held_against(1.2, bar=1.0)) == ("speed", "1.2", ">= 1", "passed")
    assert row_of("speed", held_against(0.9, bar=1.0)) == ("speed", "0.9", ">= 1", "MISSED")
    assert row_of("cost", {"bar": 1.1, "measured": 1.3, "met": False}) == ("cost", "1.3", "<= 1.1", "MISSED")


def test_the_answer_is_found_behind_log_lines() -> None:
    assert answer_in('[W1121 utils.cpp] Warning\nINFO ready\n[\n  {"bars": {}}\n]\n') == [{"bars": {}}]
    with pytest.raises(ValueError, match="prints a JSON object last"):
        answer_in("[W1121 utils.cpp] Warning\n")


def test_a_large_model_tries_what_was_fastest_for_the_small_one_and_what_weighs_more_with_size(tmp_path: Path) -> None:
    (tmp_path / "long-3m").mkdir()
    assert switches_for(tmp_path / "long-50m") == SWITCHES, "nothing is known yet"
    (tmp_path / "long-3m" / "trl_settings.json").write_text(
        json.dumps({"fastest": "continuous batching + micro-batches of 16", "flags": []})
    )
    assert list(switches_for(tmp_path / "long-50m")) == [
        "as it comes",
        "continuous batching",
        "micro-batches of 16",
        "bfloat16 autocast",
    ]
    assert switches_for(tmp_path / "long-3m") == SWITCHES


def test_a_benchmark_that_has_ended_is_run_again_only_when_nobody_resumes(tmp_path: Path) -> None:
    benchmark = Benchmark("known", "no_such_benchmark.py", (), False)
    (tmp_path / "known.json").write_text('INFO ready\n{"bars": {}}\n')
    assert run(benchmark, tmp_path, resume=True) == {"found": {"bars": {}}}
    assert run(benchmark, tmp_path, resume=False) is None, "there is no such script"
    assert not (tmp_path / "known.json").exists(), "an answer of another time would be taken for this one's"
    assert run(benchmark, tmp_path, resume=True) is None


def test_switches_that_do_not_go_together_join_one_by_one() -> None:
    """A combination that TRL refuses must not leave it with a single switch, where two of them are faster."""
    useful = ["static cache", "bfloat16 autocast", "denormals flushed", "eager attention"]
    trials: Trials = {name: {"samples_per_s": 60.0 + place} for place, name in enumerate(useful)}
    asked: list[dict[str, str]] = []

    def attempt(settings: dict[str, str]) -> dict[str, float | str]:
        asked.append(settings)
        if "--cache" in settings:
            return {"failed": "dtypes"}
        return {"samples_per_s": 70.0 if len(asked) == 2 else 69.0 + len(asked)}

    add_combinations(trials, useful, attempt)
    assert list(trials)[4:] == [
        "static cache + bfloat16 autocast + denormals flushed + eager attention",
        "eager attention + denormals flushed",
        "eager attention + denormals flushed + bfloat16 autocast",
        "eager attention + denormals flushed + bfloat16 autocast + static cache",
    ]
    assert fastest(trials) == "eager attention + denormals flushed + bfloat16 autocast"
    assert asked[2] == START | {"--attention": "eager", "--flush-denormal": "", "--precision": "bf16-autocast"}


def test_switches_that_are_faster_together_are_not_tried_in_other_ways() -> None:
    trials: Trials = {"static cache": {"samples_per_s": 60.0}, "eager attention": {"samples_per_s": 61.0}}
    add_combinations(trials, list(trials), lambda _: {"samples_per_s": 65.0})
    assert list(trials) == ["static cache", "eager attention", "static cache + eager attention"]
