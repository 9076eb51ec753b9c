from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace

import numpy as np
import pytest
from fakes import SAMPLING, FakeGenerator, FakeScorer, make_prompt, never_pauses
from hypothesis import given, settings
from hypothesis import strategies as st

from rlpost.errors import DeadlineError
from rlpost.recipe.rewards import OnFaultsConfig
from rlpost.records import Fault, GenerationRequest, RolloutGroup, Sample, Verdict
from rlpost.rollout.collector import Collector, collect_all, request_seed
from rlpost.rollout.faults import CircuitBreaker


def collector_of(
    generator: FakeGenerator,
    scorer: FakeScorer | None = None,
    *,
    samples: int = 3,
    seed: str = "0/grpo",
    stall_timeout_s: float = 20,
) -> Collector:
    return Collector(
        generator,
        scorer or FakeScorer(),
        samples=samples,
        sampling=SAMPLING,
        seed=seed,
        stall_timeout_s=stall_timeout_s,
        breaker=never_pauses(),
    )


def gather_all(collector: Collector, count: int) -> list[RolloutGroup]:
    groups: list[RolloutGroup] = []
    while len(groups) < count:
        groups += collector.gather(timeout_s=0.05)
    return sorted(groups, key=lambda group: group.index)


def latency_from(delays: list[float]) -> Callable[[GenerationRequest], float]:
    order = iter(delays)
    return lambda request: next(order)


@settings(max_examples=30, deadline=None)
@given(delays=st.lists(st.sampled_from([0.0, 0.002, 0.01]), min_size=15, max_size=15))
def test_every_group_comes_back_once_and_whole_in_any_order_of_completion(delays: list[float]) -> None:
    generator = FakeGenerator(latency_s=latency_from(delays))
    collector = collector_of(generator)
    # The same prompt twice, as in two epochs.
    collector.issue([(4, make_prompt(1)), (5, make_prompt(2)), (6, make_prompt(1)), (7, make_prompt(3))], step=0)
    collector.issue([(8, make_prompt(2))], step=0)
    groups = gather_all(collector, 5)
    assert [(group.index, group.prompt.id) for group in groups] == [
        (4, "sums/1"),
        (5, "sums/2"),
        (6, "sums/1"),
        (7, "sums/3"),
        (8, "sums/2"),
    ]
    for group in groups:
        assert [episode.sample for episode in group.episodes] == [0, 1, 2]
        expected = [float(len(episode.response) % 2) for episode in group.episodes]
        assert [verdict.score for verdict in group.verdicts] == expected, "a verdict belongs to its own rollout"
    assert collector.in_flight == 0
    assert collector.gather(timeout_s=0) == []
    collector.close()


def test_answers_do_not_depend_on_the_order_of_completion_or_of_issue() -> None:
    quick, slow = FakeGenerator(), FakeGenerator(latency_s=latency_from([0.03, 0, 0.01, 0, 0.02, 0]))
    first, second = collector_of(quick), collector_of(slow)
    first.issue([(0, make_prompt(1)), (1, make_prompt(2))], step=0)
    second.issue([(1, make_prompt(2))], step=0)
    second.issue([(0, make_prompt(1))], step=0)
    for one, other in zip(gather_all(first, 2), gather_all(second, 2), strict=True):
        assert [episode.response for episode in one.episodes] == [episode.response for episode in other.episodes]
        for episode, same in zip(one.episodes, other.episodes, strict=True):
            assert np.array_equal(episode.trajectories[0].token_ids, same.trajectories[0].token_ids)


def test_requests_of_one_prompt_differ_in_seed_and_key_only() -> None:
    generator = FakeGenerator(manual=True)
    collector_of(generator).issue([(3, make_prompt(1))], step=0)
    assert [request.key for request in generator.requests] == [("3:sums/1", sample) for sample in range(3)]
    assert len({request.seed for request in generator.requests}) == 3
    for request in generator.requests:
        assert request.sampling == SAMPLING
        assert request.prompt_token_ids.tolist() == make_prompt(1).token_ids.tolist()


def test_a_seed_is_a_fixed_function_of_stage_place_prompt_and_sample() -> None:
    assert request_seed("0/grpo", 3, "sums/1", 0) == request_seed("0/grpo", 3, "sums/1", 0)
    different = {
        request_seed(stage, index, prompt, sample)
        for stage in ("0/grpo", "1/grpo", "0/dpo")
        for index in range(5)
        for prompt in ("sums/1", "sums/2")
        for sample in range(4)
    }
    assert len(different) == 3 * 5 * 2 * 4
    assert all(0 <= seed < 2**62 for seed in different)
    # Written down, because a run that is resumed by a later version must get the same answers.
    assert request_seed("0/grpo", 3, "sums/1", 0) == 4049074579104866151


def test_what_a_scorer_sees_is_the_rollout_of_its_prompt() -> None:
    scorer = FakeScorer()
    collector = collector_of(FakeGenerator(), scorer, samples=2)
    prompt = replace(make_prompt(7, gold={"answer": 3}), meta={"difficulty": 2})
    collector.issue([(9, prompt)], step=5)
    (group,) = gather_all(collector, 1)
    first = group.episodes[0]
    assert min(scorer.samples, key=lambda sample: sample.id) == Sample(
        id="9:sums/7#0",
        prompt="question 7",
        response=first.response,
        gold={"answer": 3},
        meta={"difficulty": 2},
        dataset="sums",
        finish=first.finish,
        token_count=first.trained_count,
        group="9:sums/7",
        step=5,
    )


def test_generation_goes_on_while_a_scorer_is_slow() -> None:
    generator, gate = FakeGenerator(manual=True), threading.Event()
    scorer = FakeScorer(gate=gate)
    collector = collector_of(generator, scorer, samples=1)
    collector.issue([(0, make_prompt(0)), (1, make_prompt(1))], step=0)
    generator.finish([("0:sums/0", 0)])
    assert collector.gather(timeout_s=1) == []
    assert scorer.started.wait(10)
    collector.issue([(2, make_prompt(2))], step=0)
    generator.finish()
    started = time.monotonic()
    assert collector.gather(timeout_s=5) == []
    assert time.monotonic() - started < 2, "polling waited for the scorer"
    assert generator.running == []
    assert collector.in_flight == 3, "all three wait for the scorer"
    gate.set()
    assert [group.index for group in gather_all(collector, 3)] == [0, 1, 2]


def test_gather_waits_for_the_scorer_no_longer_than_it_is_told() -> None:
    gate = threading.Event()
    collector = collector_of(FakeGenerator(), FakeScorer(gate=gate), samples=1)
    collector.issue([(0, make_prompt(0))], step=0)
    collector.gather(timeout_s=1)
    started = time.monotonic()
    assert collector.gather(timeout_s=0.1) == []
    assert 0.08 < time.monotonic() - started < 2
    gate.set()
    assert len(gather_all(collector, 1)) == 1


@pytest.mark.parametrize("hanging", ["generator", "scorer"])
def test_a_stall_ends_in_an_error_that_names_what_is_waited_for(hanging: str) -> None:
    gate = threading.Event()
    generator = FakeGenerator(manual=hanging == "generator")
    collector = collector_of(generator, FakeScorer(gate=gate), samples=1, stall_timeout_s=0.2)
    collector.issue([(0, make_prompt(0))], step=0)
    with pytest.raises(DeadlineError, match=r"0\.2 s; waiting for 1 groups .*step_timeout_s in the cluster file"):
        gather_all(collector, 1)
    gate.set()


def test_slow_but_steady_answers_are_no_stall() -> None:
    generator = FakeGenerator(latency_s=latency_from([0.15, 0.3, 0.45]))
    collector = collector_of(generator, stall_timeout_s=0.3)
    collector.issue([(0, make_prompt(0))], step=0)
    assert len(gather_all(collector, 1)) == 1


def test_collect_all_gives_one_group_a_prompt_in_their_order_and_tells_how_far_it_is() -> None:
    generator = FakeGenerator(latency_s=latency_from([0.05, 0.05, 0.0, 0.0]))
    seen: list[int] = []
    groups = collect_all([make_prompt(5), make_prompt(4)], collector_of(generator, samples=2), on_progress=seen.append)
    assert [group.prompt.id for group in groups] == ["sums/5", "sums/4"]
    assert seen[-1] == 2


def test_a_sample_is_scored_while_the_others_of_its_group_still_generate() -> None:
    generator, scorer = FakeGenerator(manual=True), FakeScorer()
    collector = collector_of(generator, scorer)
    collector.issue([(0, make_prompt(0))], step=0)
    generator.finish([("0:sums/0", 1)])
    assert collector.gather(timeout_s=1) == []
    assert scorer.started.wait(10)
    assert [sample.id for sample in scorer.samples] == ["0:sums/0#1"]
    generator.finish()
    (group,) = gather_all(collector, 1)
    assert [episode.sample for episode in group.episodes] == [0, 1, 2], "samples come in their own order"
    assert [verdict.score for verdict in group.verdicts] == [float(len(one.response) % 2) for one in group.episodes]


def test_what_comes_while_the_scorer_is_busy_is_scored_in_one_call() -> None:
    generator, gate = FakeGenerator(manual=True), threading.Event()
    calls: list[int] = []

    class CountingScorer(FakeScorer):
        def score(self, samples):
            calls.append(len(samples))
            return super().score(samples)

    scorer = CountingScorer(gate=gate)
    collector = collector_of(generator, scorer, samples=1)
    collector.issue(((number, make_prompt(number)) for number in range(5)), step=0)
    for number in range(5):
        generator.finish([(f"{number}:sums/{number}", 0)])
        assert collector.gather(timeout_s=1) == []
        assert scorer.started.wait(10)
    gate.set()
    assert len(gather_all(collector, 5)) == 5
    assert calls == [1, 4]


def test_an_error_of_a_poll_loses_nothing() -> None:
    class OnceBroken(FakeGenerator):
        broken = 0

        def poll(self, timeout_s):
            self.broken += 1
            if self.broken == 2:
                raise ConnectionError("try again")
            return super().poll(timeout_s)

    generator = OnceBroken(manual=True)
    collector = collector_of(generator)
    collector.issue([(0, make_prompt(0)), (1, make_prompt(1))], step=0)
    generator.finish([("0:sums/0", 0), ("1:sums/1", 2)])
    assert collector.gather(timeout_s=1) == []
    with pytest.raises(ConnectionError):
        collector.gather(timeout_s=1)
    assert collector.gather(timeout_s=0) == [], "an empty poll changes nothing"
    generator.finish()
    assert [group.index for group in gather_all(collector, 2)] == [0, 1]


def test_an_error_of_the_scorer_does_not_pass_with_the_next_call() -> None:
    def broken(sample: Sample) -> Verdict:
        raise ValueError("no route")

    generator = FakeGenerator()
    collector = collector_of(generator, FakeScorer(broken), samples=1)
    collector.issue([(0, make_prompt(0))], step=0)
    for _ in range(2):
        with pytest.raises(ValueError, match="no route"):
            gather_all(collector, 1)


def test_samples_that_are_judged_by_group_wait_for_the_whole_group_and_come_in_its_order() -> None:
    class GroupScorer(FakeScorer):
        def __init__(self):
            super().__init__()
            self.calls: list[list[str]] = []

        def by_group(self, sample):
            return sample.prompt != "question 2"

        def score(self, samples):
            self.calls.append([sample.id for sample in samples])
            return super().score(samples)

    generator, scorer = FakeGenerator(manual=True), GroupScorer()
    collector = collector_of(generator, scorer)
    collector.issue([(0, make_prompt(1)), (1, make_prompt(2))], step=4)
    generator.finish([("0:sums/1", 2), ("0:sums/1", 0), ("1:sums/2", 1)])
    assert collector.gather(timeout_s=1) == []
    assert scorer.started.wait(10)
    assert scorer.calls == [["1:sums/2#1"]], "who is judged alone does not wait"
    generator.finish([("0:sums/1", 1)])
    [group] = gather_all(collector, 1)
    assert scorer.calls[1] == ["0:sums/1#0", "0:sums/1#1", "0:sums/1#2"]
    assert {sample.group for sample in scorer.samples[1:]} == {"0:sums/1"}
    assert {sample.step for sample in scorer.samples} == {4}
    assert [verdict.score for verdict in group.verdicts] == [float(len(one.response) % 2) for one in group.episodes]


def test_while_scoring_pauses_there_is_no_stall_and_closing_ends_the_pause() -> None:
    breaker = CircuitBreaker(OnFaultsConfig(), say=lambda text: None)
    scorer = FakeScorer(lambda sample: Verdict(fault=Fault.INFRA, reason="down"))
    collector = Collector(
        FakeGenerator(), scorer, samples=30, sampling=SAMPLING, seed="0/grpo", stall_timeout_s=0.2, breaker=breaker
    )
    collector.issue([(0, make_prompt(0))], step=0)
    until = time.monotonic() + 0.8
    while time.monotonic() < until:
        assert collector.gather(timeout_s=0.05) == []
    assert collector.paused
    collector.close()
    with pytest.raises(CancelledError):
        gather_all(collector, 1)


def test_faults_are_counted_once_a_group_is_whole() -> None:
    def verdict(sample: Sample) -> Verdict:
        fault = {"0": Fault.INFRA, "1": Fault.POLICY}.get(sample.id[-1])
        return Verdict(score=None if fault is Fault.INFRA else 0.0, fault=fault)

    collector = collector_of(FakeGenerator(), FakeScorer(verdict))
    collector.issue([(0, make_prompt(0)), (1, make_prompt(1))], step=0)
    gather_all(collector, 2)
    assert dict(collector.faults) == {Fault.INFRA: 2, Fault.POLICY: 2}
