"""Methods of merging, on tensors whose merge is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlpost.learner.merging import Merge, agreeing_mean, drop, linear, slerp, trim, weighted_sum

METHODS = ("linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties")


def merge_of(method: str, *weights: float, density: float = 0.5, scale: float = 1.0) -> Merge:
    return Merge(method=method, weights=weights, density=density, scale=scale, seed="0/merged")


def random_tensor(seed: int, *shape: int) -> Tensor:
    return torch.randn(*(shape or (7, 5)), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 0.7), (1 / 3, 1 / 7)])
def test_a_model_merged_with_itself_keeps_every_bit(method: str, weights: tuple[float, float]) -> None:
    model = random_tensor(0)
    model[0, :3] = torch.tensor([0.0, -0.0, 1e-30])
    merged = merge_of(method, *weights).tensor("x", [model, model.clone()], model.clone())
    assert merged.numpy().tobytes() == model.numpy().tobytes()


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_linear_merge_with_equal_weights_is_the_mean(first_seed: int, second_seed: int) -> None:
    first, second = random_tensor(first_seed), random_tensor(second_seed)
    mean = (first.double() + second.double()) / 2
    assert torch.equal(linear([first, second], [1, 1]), mean.float())


def test_a_linear_merge_is_weighted_by_shares() -> None:
    merged = linear([torch.tensor([1.0]), torch.tensor([5.0]), torch.tensor([9.0])], [2, 1, 1])
    assert merged.tolist() == [4.0]


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 0.0), (0.25, math.pi / 8), (0.5, math.pi / 4), (1.0, math.pi / 2)]
)
def test_slerp_goes_along_the_arc_at_even_speed(fraction: float, expected: float) -> None:
    merged = slerp(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), fraction=fraction)
    torch.testing.assert_close(merged, 2 * torch.tensor([math.cos(expected), math.sin(expected)]))


def test_slerp_of_parallel_or_zero_tensors_is_a_line() -> None:
    assert slerp(torch.tensor([2.0, 0.0]), torch.tensor([4.0, 0.0]), fraction=0.5).tolist() == [3.0, 0.0]
    assert slerp(torch.zeros(2), torch.tensor([4.0, 0.0]), fraction=0.25).tolist() == [1.0, 0.0]


def test_the_weights_of_slerp_say_how_far_along_the_arc() -> None:
    models = [torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])]
    torch.testing.assert_close(merge_of("slerp", 3, 1).tensor("x", models, None), slerp(*models, fraction=0.25))


def test_task_vectors_are_added_to_the_base_and_a_negative_weight_takes_one_away() -> None:
    base = torch.tensor([1.0, 1.0])
    models = [torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])]
    merged = merge_of("task_arithmetic", 1, -2, scale=0.5).tensor("x", models, base)
    assert merged.tolist() == [1 + 0.5 * 2, 1 - 0.5 * 2]


def test_ties_keeps_the_largest_and_takes_the_mean_where_signs_agree() -> None:
    vectors = [torch.tensor([4.0, -1.0, 0.5, 3.0]), torch.tensor([2.0, 5.0, 0.1, -1.0])]
    trimmed = [trim(vector, density=0.5) for vector in vectors]
    assert [vector.tolist() for vector in trimmed] == [[4, 0, 0, 3], [2, 5, 0, 0]]
    assert agreeing_mean(trimmed, [1, 1]).tolist() == [3, 5, 0, 3]
    # Without trimming the larger total decides on the sign, and the other side is left out.
    assert agreeing_mean(vectors, [1, 1]).tolist() == [3, 5, pytest.approx(0.3), 3]
    assert agreeing_mean(vectors, [3, 1])[3].item() == 3
    merged = merge_of("ties", 1, 1, scale=2.0).tensor("x", vectors, torch.zeros(4))
    assert merged.tolist() == [6, 10, 0, 6]


@pytest.mark.parametrize(("density", "kept"), [(1.0, 10), (0.5, 5), (0.2, 2), (0.01, 1)])
def test_trimming_keeps_the_share_that_was_asked_for(density: float, kept: int) -> None:
    vector = torch.arange(1.0, 11.0) * torch.tensor([1.0, -1.0] * 5)
    assert trim(vector, density=density).count_nonzero() == kept
    assert trim(vector, density=density)[10 - kept :].tolist() == vector[10 - kept :].tolist()


def test_dare_keeps_a_random_share_and_the_expectation() -> None:
    vector = torch.ones(40_000)
    dropped = drop(vector, density=0.25, generator=torch.Generator().manual_seed(3))
    assert set(dropped.tolist()) == {0.0, 4.0}
    # Four standard errors of a mean of 40,000 entries, each with variance 3.
    assert dropped.mean().item() == pytest.approx(1.0, abs=4 * math.sqrt(3 / 40_000))


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_drops_the_same_entries_for_one_seed_and_others_for_another(method: str) -> None:
    base, models = torch.zeros(7, 5), [random_tensor(1), random_tensor(2)]
    merge = merge_of(method, 1, 1)
    merged = merge.tensor("x", models, base)
    assert torch.equal(merge.tensor("x", models, base), merged)
    assert not torch.equal(merge.tensor("y", models, base), merged)
    assert not torch.equal(replace(merge, seed="1/merged").tensor("x", models, base), merged)


def test_dare_drops_other_entries_of_every_model() -> None:
    merged = merge_of("dare_linear", 1, 10).tensor("x", [torch.ones(100), torch.ones(100)], torch.zeros(100))
    assert set(merged.tolist()) == {0.0, 2.0, 20.0, 22.0}


def test_a_sum_of_vectors_is_weighted() -> None:
    assert weighted_sum([torch.tensor([1.0]), torch.tensor([2.0])], [2, 3]).tolist() == [8.0]
