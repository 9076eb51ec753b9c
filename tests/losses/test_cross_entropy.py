"""Cross-entropy by hand."""

from __future__ import annotations

import pickle

import pytest
from loss_inputs import gradient_by_autograd, inputs_of

from rlpost.losses.cross_entropy import CrossEntropy


def test_sums_the_negative_logprobs_times_their_weights() -> None:
    inputs = inputs_of([-0.5, -2.0, -1.0], rows=[0, 0, 1], weights=[1.0, 0.25, 3.0])
    assert CrossEntropy()(inputs).total.item() == pytest.approx(0.5 + 0.25 * 2.0 + 3.0 * 1.0)


def test_the_gradient_of_a_token_is_minus_its_weight() -> None:
    inputs = inputs_of([-0.5, -2.0, -1.0], rows=[0, 0, 1], weights=[1.0, 0.25, 3.0])
    assert gradient_by_autograd(CrossEntropy(), inputs).tolist() == [-1.0, -0.25, -3.0]


def test_a_micro_batch_without_tokens_has_a_total_of_zero_that_can_be_differentiated() -> None:
    inputs = inputs_of([], rows=[], row_count=2)
    assert CrossEntropy()(inputs).total.item() == 0
    assert gradient_by_autograd(CrossEntropy(), inputs).tolist() == []


def test_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(CrossEntropy())) == CrossEntropy()
