from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import SAMPLING, FakeGenerator, FakeLearner, FakeScorer, make_prompt, never_pauses

from rlpost.errors import ParityError
from rlpost.records import FloatArray, RolloutGroup
from rlpost.rollout.canary import ParityGap, check_parity, parity_rows
from rlpost.rollout.collector import Collector, collect_all
from rlpost.train_records import TrainBatch


def groups_of(*, temperature: float = 1.0, version: int = 0) -> list[RolloutGroup]:
    generator = FakeGenerator()
    generator.version = version
    collector = Collector(
        generator,
        FakeScorer(),
        samples=2,
        sampling=replace(SAMPLING, temperature=temperature),
        seed="0",
        stall_timeout_s=10,
        breaker=never_pauses(),
    )
    try:
        return collect_all([make_prompt(number) for number in range(4)], collector, on_progress=lambda done: None)
    finally:
        collector.close()


def check(
    groups: list[RolloutGroup],
    learner: FakeLearner,
    *,
    temperature: float = 1.0,
    tolerance: float | None = None,
    dtype: str = "float32",
) -> ParityGap:
    return check_parity(groups, learner, temperature=temperature, tolerance=tolerance, dtype=dtype, samples=3)


def with_logprobs(group: RolloutGroup, *, scale: float) -> RolloutGroup:
    episodes = tuple(
        replace(
            episode,
            trajectories=tuple(replace(part, logprobs_T=part.logprobs_T * scale) for part in episode.trajectories),
        )
        for episode in group.episodes
    )
    return replace(group, episodes=episodes)


class SureLearner(FakeLearner):
    """Its log-probabilities, times a number."""

    def __init__(self, *, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def logprobs(self, batch: TrainBatch, *, of: str) -> FloatArray:
        return super().logprobs(batch, of=of) * np.float32(self._scale)


def cause(groups: list[RolloutGroup], learner: FakeLearner, *, temperature: float = 1.0) -> str:
    with pytest.raises(ParityError) as raised:
        check(groups, learner, temperature=temperature)
    return str(raised.value).partition("Likely cause: ")[2]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_agreement_passes_and_is_measured_on_response_tokens_of_the_first_groups(temperature: float) -> None:
    groups = groups_of(temperature=temperature)
    gap = check(groups, FakeLearner(), temperature=temperature)
    assert gap.maximum < 1e-6
    assert gap.token_count == sum(group.episodes[0].trained_count for group in groups[:3])


def test_rows_are_prompt_and_first_rollout_with_the_generators_numbers() -> None:
    group = groups_of()[1]
    (row,) = parity_rows([group], at_most=1)
    prompt, (trajectory,) = group.prompt.token_ids, group.episodes[0].trajectories
    assert row.token_ids.tolist() == trajectory.token_ids.tolist()
    assert row.token_ids[: len(prompt)].tolist() == prompt.tolist()
    assert row.weights_T.tolist() == [0.0] * len(prompt) + [1.0] * trajectory.trained_count
    assert np.array_equal(row.columns["behaviour_logprobs_T"], trajectory.logprobs_T)


def test_the_tolerance_is_the_recipes_or_that_of_the_number_format() -> None:
    groups, off = groups_of(), FakeLearner(noise=0.01)
    assert check(groups, off, tolerance=0.02).maximum == pytest.approx(0.01, rel=1e-3)
    assert check(groups, off, dtype="bfloat16").mean == pytest.approx(0.01, rel=1e-3)
    with pytest.raises(ParityError, match=r"within 0\.001 of their size; found 0\.0166 in the median of 3 responses"):
        check(groups, off)


class LearnerOffAtOneToken(FakeLearner):
    """In the first of the responses."""

    def __init__(self, *, by: float, in_every_response: bool = False) -> None:
        super().__init__()
        self._by, self._in_every_response = by, in_every_response

    def logprobs(self, batch: TrainBatch, *, of: str) -> FloatArray:
        logprobs_T = super().logprobs(batch, of=of)
        last_B = np.cumsum(batch.row_lengths_B) - 1
        logprobs_T[last_B if self._in_every_response else last_B[:1]] += self._by
        return logprobs_T


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_token_that_rounding_turned_is_measured_and_ends_nothing(dtype: str) -> None:
    gap = check(groups_of(), LearnerOffAtOneToken(by=-0.8), dtype=dtype)
    assert gap.maximum == pytest.approx(0.8, rel=1e-5)
    assert gap.relative < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_token_off_in_every_response_ends_the_run(dtype: str) -> None:
    with pytest.raises(ParityError):
        check(groups_of(), LearnerOffAtOneToken(by=-0.8, in_every_response=True), dtype=dtype)


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_a_temperature_left_out_shows_in_bfloat16_however_sure_the_model_is(scale: float) -> None:
    """The differences of a sure model are small, and so are its log-probabilities."""
    groups = [with_logprobs(group, scale=scale) for group in groups_of()]
    with pytest.raises(ParityError):
        check(groups, SureLearner(scale=scale), temperature=0.7, dtype="bfloat16")
    assert check(groups, SureLearner(scale=scale), dtype="bfloat16").relative < 1e-4


def test_log_probabilities_that_are_no_numbers_do_not_pass() -> None:
    with pytest.raises(ParityError):
        check(groups_of(), FakeLearner(noise=float("nan")))
    with pytest.raises(ParityError):
        check(groups_of(), LearnerOffAtOneToken(by=float("nan")))
    with pytest.raises(ParityError):
        check(groups_of(), LearnerOffAtOneToken(by=float("-inf")))


def test_names_a_generator_that_leaves_the_temperature_out() -> None:
    # Sampled at 1, reported at 1, but the recipe and the learner say 0.5.
    assert "processed_logprobs" in cause(groups_of(), FakeLearner(), temperature=0.5)


def test_names_packed_rows_that_see_each_other() -> None:
    assert "packed rows see each other" in cause(groups_of(), FakeLearner(rows_see_each_other=True))


def test_names_a_difference_of_number_formats() -> None:
    assert "different number formats" in cause(groups_of(), FakeLearner(noise=0.03))


def test_names_stale_weights() -> None:
    assert "stale or wrongly named tensors" in cause(groups_of(version=3), FakeLearner(version_of_logprobs=5))
