"""What is done about a loss that is not finite, and who is named."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeLearner

from rlpost.errors import NonFiniteError
from rlpost.losses.cross_entropy import CrossEntropy
from rlpost.records import FloatArray
from rlpost.stages.finite_steps import FiniteSteps, suspects
from rlpost.train_records import TrainBatch, TrainRow, one_component


def batch_of(*sources: str, advantages: tuple[float, ...] = ()) -> TrainBatch:
    rows = [
        TrainRow(
            token_ids=np.array([3, 4, 5], np.int32),
            weights_T=np.array([0, 1, 1], np.float32),
            columns={"advantages_T": np.array([0, value, value], np.float32)},
            source=source,
        )
        for source, value in zip(sources, advantages or [1.0] * len(sources), strict=True)
    ]
    return TrainBatch.of(rows, components=one_component("tokens", 1.0))


def numbers(*rows: float) -> FloatArray:
    return np.array([value for row in rows for value in (0, row, -0.1)], np.float32)


def test_a_batch_that_is_not_finite_itself_is_named_before_the_model() -> None:
    batch = batch_of("sums/1", "sums/2", advantages=(1.0, float("nan")))
    found = suspects(batch, numbers(float("nan"), -1))
    assert found == "the batch has advantages_T that are not finite: sums/2"


def test_rows_for_which_the_model_gives_no_finite_number_are_named() -> None:
    found = suspects(batch_of("a", "b", "c"), numbers(-1, float("-inf"), float("nan")))
    assert found == "the model's outputs are not finite for b; c"


def test_where_no_row_alone_is_behind_it_the_least_likely_ones_are_named_first() -> None:
    batch = batch_of(*"abcdefg")
    found = suspects(batch, numbers(-1, -9, -2, -30, -1, -1, -3))
    assert found == "no row alone is behind it; the model finds these least likely: d; b; g; c; a"


def test_more_rows_than_a_person_reads_are_counted() -> None:
    assert suspects(batch_of(*"abcdefg"), numbers(*[float("nan")] * 7)).endswith("a; b; c; d; e and 2 more")


def test_a_finite_step_in_between_forgives_the_ones_before_and_one_too_many_ends_it() -> None:
    learner, said = FakeLearner(), list[str]()
    finite = FiniteSteps(learner, numbers=lambda batch: numbers(-1), most_in_a_row=2, say=said.append)
    batch = batch_of("sums/7")
    for place, fails in enumerate((True, True, False, True, True)):
        learner.raises = {"step": NonFiniteError("loss nan")} if fails else {}
        assert (finite.step(batch, CrossEntropy(), planned_step=place) is None) == fails
    assert [text.split(":")[0] for text in said] == [
        f"a step is left out, {count} in a row of 2 at most" for count in (1, 2, 1, 2)
    ]
    with pytest.raises(NonFiniteError, match=r"sums/7\): a stage must end with a finite step, and its last 2 were"):
        finite.end()
    learner.raises = {"step": NonFiniteError("loss nan")}
    with pytest.raises(NonFiniteError, match=r"sums/7\): step 3 in a row, and learner\.max_skipped_steps lets 2"):
        finite.step(batch, CrossEntropy(), planned_step=5)
    assert (learner.steps, learner.planned_steps) == (1, [0, 1, 2, 3, 4, 5]), "a skipped step has its place too"
