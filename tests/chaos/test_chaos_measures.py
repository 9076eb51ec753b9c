"""What the chaos suite measures, and that its faults happen where and as often as planned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chaos import bars_missed
from disturbed_run import INJECT, ROOT, Place, Seen, recovery_s, steps_done_again
from scenarios import SCENARIOS
from soak import Life, role_of


def in_a_run(place: Place, program: str) -> str:
    """What a process of a run that is disturbed by this plan prints."""
    environment = os.environ | {
        "RLPOST_CHAOS": str(place.folder / "plan"),
        "PYTHONPATH": os.pathsep.join([str(INJECT), str(ROOT)]),
    }
    command = [sys.executable, "-c", f"import chaos_faults; {program}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_recovery_ends_with_a_step_that_was_not_there_before_the_fault() -> None:
    seen = [Seen(0.0, 0), Seen(4.0, 5), Seen(6.0, 3), Seen(9.0, 5), Seen(9.5, 6)]
    assert recovery_s(seen, fault_s=5.0) == 4.5
    assert recovery_s(seen, fault_s=9.7) is None


def test_steps_whose_records_were_taken_back_are_counted() -> None:
    assert steps_done_again([Seen(0.0, 0), Seen(1.0, 5), Seen(2.0, 3), Seen(3.0, 6), Seen(4.0, 6)]) == 2
    assert steps_done_again([Seen(0.0, 4), Seen(1.0, 0), Seen(2.0, 3), Seen(3.0, 1)]) == 6
    assert steps_done_again([]) == 0


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        ({"recovery_s": [12.0], "steps_done_again": 2, "serves_again_s": [29.9]}, 0),
        ({"recovery_s": [12.0], "steps_done_again": 2, "serves_again_s": [9.0, 30.1]}, 1),
        ({"recovery_s": [12.0], "steps_done_again": 13}, 1),
        ({"recovery_s": [None], "steps_done_again": 0}, 1),
    ],
)
def test_a_bar_that_is_missed_fails_the_scenario(found: dict[str, object], missed: int) -> None:
    assert len(bars_missed(found)) == missed


def test_an_engine_is_waited_for_from_its_own_death_and_not_from_a_learners(tmp_path: Path) -> None:
    place = Place.fresh(tmp_path / "place", {}, {})
    for number, victim in enumerate(("learner", "engine", "engine")):
        (place.folder / "plan" / f"done-{number}-0").write_text(json.dumps({"time_s": number, "victim": victim}))
    assert place.fault_times() == [0, 1, 2]
    assert place.fault_times(of_engines=True) == [1, 2]


@pytest.mark.parametrize(
    ("where", "what", "engines"),
    [
        ("learner.forward", "kill first engine", 1),
        ("learner.forward", "kill all engine", 1),
        ("engine.step", "kill", 1),
        ("engine.step", "kill all verifier", 0),
        ("learner.forward", "kill", 0),
    ],
)
def test_a_fault_says_whom_it_befell(tmp_path: Path, where: str, what: str, engines: int) -> None:
    place = Place.fresh(tmp_path / "place", {}, {})
    place.plan([{"name": "one", "place": where, "at": 1, "do": what}])
    in_a_run(place, f"chaos_faults._do = print; chaos_faults._pass({where!r})")
    assert len(place.fault_times()) == 1
    assert len(place.fault_times(of_engines=True)) == engines


def test_every_scenario_says_what_it_is() -> None:
    assert len(SCENARIOS) >= 20
    assert len(set(SCENARIOS.values())) == len(SCENARIOS)


def test_a_fault_is_done_at_its_place_at_its_time_and_once_over_all_processes(tmp_path: Path) -> None:
    place = Place.fresh(tmp_path / "place", {}, {})
    place.plan([{"name": "one", "place": "here", "at": 3, "do": "nan", "times": 1}])
    said = [in_a_run(place, "print([chaos_faults._pass('here') for _ in range(5)])") for _ in range(2)]
    assert said == [str([None, None, "nan", None, None]), str([None] * 5)]
    assert len(place.fault_times()) == 1


def test_records_are_read_while_the_last_line_is_written(tmp_path: Path) -> None:
    place = Place.fresh(tmp_path / "place", {"name": "x"}, {"name": "y"})
    assert place.records() == []
    folder = place.output / "stages" / "01-grpo.partial"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 0}) + '\n{"step": 1')
    assert place.records() == [{"step": 0}]


def test_growth_is_measured_after_the_warm_up_and_only_over_a_life_that_is_long_enough() -> None:
    times_s = [float(at) for at in range(0, 900, 5)]
    grows = Life("engine", times_s, [500.0 if at < 120 else 100.0 + at / 3600 * 12 for at in times_s])
    assert grows.slope_mib_per_h() == pytest.approx(12.0)
    assert Life("engine", times_s[:50], [1.0] * 50).slope_mib_per_h() is None


def test_processes_are_told_apart_by_what_they_are_for() -> None:
    assert role_of("ray::GeneratorActor.poll") == "engine"
    assert role_of("/usr/bin/python -m rlpost.scoring.worker_main 7") == "verifier"
    assert role_of("ray::IDLE") is None
