from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from fakes import make_group, make_prompt, scored

from rlpost.errors import RewardError
from rlpost.recipe.rewards import OnFaultsConfig
from rlpost.records import Completion, Fault, Mark, Prompt, RolloutGroup, Sample, Verdict, VersionSpan
from rlpost.rollout import faults as faults_module
from rlpost.rollout.episodes import single_turn
from rlpost.rollout.faults import INFRA_FAULT, CircuitBreaker, lost_to_infra, refuse_if_nothing_was_judged
from rlpost.rollout.quarantine import Quarantine
from rlpost.telemetry.waits import WAITS
from rlpost.telemetry.watchdog import Watchdog

DOWN = Verdict(fault=Fault.INFRA, reason="the judge is down", version="judge@1")


def test_a_batch_in_which_nothing_was_judged_is_no_low_reward() -> None:
    broken = Verdict(score=0.0, fault=Fault.POLICY, reason="the verifier raised KeyError: 'nope'", version="mine@1")
    sound = Verdict(score=0.0, version="mine@1")
    completion = Completion(
        key=("0:p", 0),
        token_ids=np.array([1], np.int32),
        logprobs_T=np.zeros(1, np.float32),
        version_spans=(VersionSpan(start=0, stop=1, version=0),),
        finish="stop",
        text="x",
        seconds=0.1,
    )
    prompt = Prompt(id="p", dataset="d", messages=(), token_ids=np.array([1], np.int32), gold=None, meta={})

    def group(*verdicts: Verdict) -> RolloutGroup:
        episodes = (single_turn(prompt, completion),) * len(verdicts)
        return RolloutGroup(prompt=prompt, index=0, episodes=episodes, verdicts=verdicts)

    refuse_if_nothing_was_judged([group(broken, sound), group(broken, broken)])
    with pytest.raises(RewardError, match=r"at least one of 4 samples; .* \(policy, mine@1\): .* KeyError: 'nope'"):
        refuse_if_nothing_was_judged([group(broken, broken), group(broken, broken)])


class Service:
    """A `Scorer` whose answers `judge` decides; remembers what it was asked."""

    def __init__(self, judge: Callable[[Sample], Verdict], *, by_group: bool = False) -> None:
        self._judge, self._by_group = judge, by_group
        self.asked: list[list[str]] = []

    def by_group(self, sample: Sample) -> bool:
        return self._by_group

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        self.asked.append([sample.id for sample in samples])
        return [self._judge(sample) for sample in samples]


def samples_of(count: int, *, group_size: int = 1) -> list[Sample]:
    return [Sample(id=str(n), prompt="", response="", group=f"g{n // group_size}") for n in range(count)]


def breaker_of(said: list[str] | None = None, **config: float) -> CircuitBreaker:
    quick = {"longest_pause_s": 0.2, **config}
    return CircuitBreaker(OnFaultsConfig.model_validate(quick), say=print if said is None else said.append)


@pytest.fixture(autouse=True)
def quick_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(faults_module, "LONGEST_WAIT_S", 0.02)


def down_for(calls: int) -> Callable[[Sample], Verdict]:
    """Down for the first calls of the scorer that ask for sample 0."""
    left = [calls]

    def judge(sample: Sample) -> Verdict:
        if sample.id == "0":
            left[0] -= 1
        return DOWN if left[0] >= 0 else Verdict(score=1.0)

    return judge


def test_a_few_infra_faults_pass_and_are_left_to_whoever_masks_them() -> None:
    service = Service(lambda sample: DOWN if sample.id == "7" else Verdict(score=1.0))
    verdicts = breaker_of().judge(service, samples_of(40))
    assert [n for n, verdict in enumerate(verdicts) if verdict.fault] == [7]
    assert len(service.asked) == 1


def test_while_a_service_is_down_nothing_is_issued_and_then_everything_is_judged() -> None:
    said: list[str] = []
    breaker, paused = CircuitBreaker(OnFaultsConfig(longest_pause_s=5), say=said.append), []
    judge = down_for(3)
    service = Service(lambda sample: (paused.append(breaker.paused), judge(sample))[1])
    verdicts = breaker.judge(service, samples_of(30))
    assert [verdict.score for verdict in verdicts] == [1.0] * 30
    assert [len(call) for call in service.asked] == [30, 4, 4, 4, 26], "a few are tried first, then the rest"
    assert paused[:30] == [False] * 30 and all(paused[30:]) and not breaker.paused
    assert said[0].startswith("scoring pauses: 30 of the last 30 verdicts are infra faults, judge@1: the judge is down")
    assert said[1].startswith("scoring goes on after ") and said[1].endswith("all samples are judged")
    breaker.judge(Service(lambda sample: Verdict(score=1.0)), samples_of(5))
    assert len(said) == 2


def test_a_pause_is_no_stall_however_long_it_lasts() -> None:
    reports, looks, service_looks = list[str](), list[list[str]](), down_for(4)
    dog = Watchdog(WAITS, report_after_s=0.001, report=reports.append, say=reports.append)

    def judge(sample: Sample) -> Verdict:
        if sample.id == "0" and breaker.paused:
            time.sleep(0.005)
            dog.look()
            looks.append([wait.awaited for wait in WAITS.open() if wait.is_pause])
        return service_looks(sample)

    breaker = CircuitBreaker(OnFaultsConfig(longest_pause_s=5), say=lambda text: None)
    breaker.judge(Service(judge), samples_of(30))
    assert looks == [["judge@1 to be back"]] * 4
    assert reports == []
    time.sleep(0.005)
    dog.look()
    assert len(reports) == 1 and WAITS.open() == []


def test_a_service_that_stays_down_stops_the_run_by_name_and_reason() -> None:
    breaker, service = breaker_of(), Service(lambda sample: DOWN)
    started = time.monotonic()
    with pytest.raises(RewardError, match=r"at most 0\.2 .*; 30 of the last 30 are, .* judge@1: the judge is down"):
        breaker.judge(service, samples_of(30))
    assert 0.2 < time.monotonic() - started < 2.0
    assert not breaker.paused


def test_between_the_thresholds_the_run_goes_on_and_does_not_pause_at_every_call() -> None:
    said: list[str] = []
    breaker = CircuitBreaker(OnFaultsConfig(longest_pause_s=0.1, window=100), say=said.append)
    service = Service(lambda sample: DOWN if int(sample.id) % 10 == 0 else Verdict(score=1.0))
    for _ in range(5):
        verdicts = breaker.judge(service, samples_of(30))
        assert sum(verdict.fault is Fault.INFRA for verdict in verdicts) == 3
    assert len(said) == 2 and said[1].endswith("3 samples could not be judged and are left out")
    breaker.judge(Service(lambda sample: Verdict(score=1.0)), samples_of(100))
    breaker.judge(service, samples_of(100))
    assert len(said) == 4, "once it was well, it pauses again"


def test_what_fails_for_a_reason_of_its_own_is_given_up_soon_after_the_service_is_back() -> None:
    back = [False]

    def judge(sample: Sample) -> Verdict:
        return Verdict(score=1.0) if back[0] and sample.id != "3" else DOWN

    service = Service(judge)
    threading.Timer(0.1, lambda: back.__setitem__(0, True)).start()
    started = time.monotonic()
    verdicts = breaker_of(longest_pause_s=60.0).judge(service, samples_of(20))
    assert [n for n, verdict in enumerate(verdicts) if verdict.fault] == [3]
    assert time.monotonic() - started < 5.0


def test_faults_that_will_not_pass_are_not_waited_for() -> None:
    missing = Verdict(fault=Fault.INFRA, reason="No module named 'x'", version="mine@1", marks=(Mark.PERMANENT,))
    service = Service(lambda sample: missing)
    with pytest.raises(RewardError, match="mine@1: No module named 'x'"):
        breaker_of(longest_pause_s=60.0).judge(service, samples_of(8))
    assert len(service.asked) == 1


def test_a_single_failure_at_the_start_of_a_run_does_not_pause_it() -> None:
    service = Service(lambda sample: DOWN)
    assert breaker_of(pause_above=0.05).judge(service, samples_of(1)) == [DOWN]
    assert len(service.asked) == 1


def test_the_window_forgets() -> None:
    breaker = breaker_of(window=20, longest_pause_s=0.05)
    breaker.judge(Service(lambda sample: DOWN if int(sample.id) < 3 else Verdict(score=1.0)), samples_of(20))
    breaker.judge(Service(lambda sample: Verdict(score=1.0)), samples_of(20))
    last = Service(lambda sample: DOWN)
    breaker.judge(last, samples_of(1))
    assert len(last.asked) == 1


def test_samples_that_are_judged_by_group_are_judged_again_with_their_group() -> None:
    down = [True]
    service = Service(lambda sample: DOWN if down[0] and sample.id in "15" else Verdict(score=1.0), by_group=True)
    threading.Timer(0.05, lambda: down.__setitem__(0, False)).start()
    verdicts = breaker_of(longest_pause_s=5.0).judge(service, samples_of(8, group_size=4))
    assert [verdict.score for verdict in verdicts] == [1.0] * 8
    assert service.asked[-1] == [str(n) for n in range(8)], "both groups whole"


def test_closing_ends_a_pause() -> None:
    breaker = CircuitBreaker(OnFaultsConfig(), say=lambda text: None)
    threading.Timer(0.1, breaker.close).start()
    with pytest.raises(CancelledError):
        breaker.judge(Service(lambda sample: DOWN), samples_of(30))
    assert not breaker.paused


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        ([*scored(1, 0), DOWN], None),
        ([*scored(1), DOWN, DOWN], INFRA_FAULT),
        ([DOWN, DOWN], INFRA_FAULT),
        ([*scored(1)], None),
        ([DOWN], INFRA_FAULT),
        ([*scored(1), Verdict(fault=Fault.POLICY, score=0.0), DOWN], None),
    ],
)
def test_a_group_needs_two_judged_samples_to_compare(verdicts: list[Verdict], reason: str | None) -> None:
    assert lost_to_infra(make_group(verdicts)) == reason


def test_a_quarantined_row_is_written_once_also_over_a_resume_and_a_torn_line(tmp_path: Path) -> None:
    unreadable = Verdict(fault=Fault.GOLD, reason="the gold is empty", version="math@1")
    quarantine = Quarantine(tmp_path)
    assert not (tmp_path / "quarantine.jsonl").exists()
    quarantine.add(make_prompt(3, gold={"answer": [1, "x"]}), unreadable)
    quarantine.add(make_prompt(3), unreadable)
    with (tmp_path / "quarantine.jsonl").open("a") as file:
        file.write('{"id": "sums/4", "da')
    again = Quarantine(tmp_path)
    assert "sums/3" in again and "sums/4" not in again and again.reason("sums/3") == "the gold is empty"
    again.add_from([make_group(scored(1, 0), index=5), make_group([*scored(1), unreadable], index=6)])
    lines = (tmp_path / "quarantine.jsonl").read_text().splitlines()
    assert lines == [
        '{"id": "sums/3", "dataset": "sums", "verifier": "math@1", "reason": "the gold is empty", '
        '"gold": {"answer": [1, "x"]}}',
        '{"id": "sums/6", "dataset": "sums", "verifier": "math@1", "reason": "the gold is empty", "gold": "1"}',
    ]
