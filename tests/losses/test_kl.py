"""KL estimates: the sample mean over a known distribution, and their behaviour at the extremes."""

from __future__ import annotations

import math

import pytest
import torch

from rlpost.losses.kl import k1, k2, k3

P = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
Q = torch.tensor([0.4, 0.35, 0.15, 0.1], dtype=torch.float64)
EXACT = float((P * (P / Q).log()).sum())


@pytest.mark.parametrize("estimate", [k1, k3])
def test_k1_and_k3_are_unbiased(estimate) -> None:
    expectation = (P * estimate(P.log(), other_logprobs_T=Q.log())).sum()
    assert float(expectation) == pytest.approx(EXACT, rel=1e-12)


def test_k2_is_close_for_close_distributions() -> None:
    expectation = float((P * k2(P.log(), other_logprobs_T=Q.log())).sum())
    assert expectation == pytest.approx(EXACT, rel=0.15)
    assert expectation != pytest.approx(EXACT, rel=1e-3), "k2 is biased"


def test_in_the_loss_k1_has_no_gradient_on_average_and_k2_has_that_of_the_divergence() -> None:
    logits = P.log().requires_grad_()
    log_policy = logits.log_softmax(0)
    (exact,) = torch.autograd.grad((log_policy.exp() * (log_policy - Q.log())).sum(), logits, retain_graph=True)

    def gradient(estimate) -> torch.Tensor:
        mean = (P * estimate(log_policy, other_logprobs_T=Q.log())).sum()
        return torch.autograd.grad(mean, logits, retain_graph=True)[0]

    assert float(exact.abs().max()) > 0.05
    assert float(gradient(k1).abs().max()) < 1e-15
    torch.testing.assert_close(gradient(k2), exact)


def test_values_by_hand() -> None:
    p, q = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert k1(p, other_logprobs_T=q).item() == pytest.approx(math.log(2))
    assert k2(p, other_logprobs_T=q).item() == pytest.approx(math.log(2) ** 2 / 2)
    assert k3(p, other_logprobs_T=q).item() == pytest.approx(0.5 - 1 + math.log(2))


def test_k2_and_k3_are_never_negative_even_for_tiny_differences_in_float32() -> None:
    p = torch.linspace(-3, 0, 1001)
    for offset in (1e-6, 1e-4, 1e-2, 1.0):
        for q in (p + offset, p - offset):
            assert (k2(p, other_logprobs_T=q) >= 0).all()
            assert (k3(p, other_logprobs_T=q) >= 0).all()


@pytest.mark.parametrize("gap", [-1e4, 1e4])
def test_k3_stays_finite_at_the_extremes(gap: float) -> None:
    p = torch.zeros(1, requires_grad=True)
    value = k3(p, other_logprobs_T=torch.tensor([gap]))
    value.sum().backward()
    assert value.isfinite().all()
    assert p.grad is not None and p.grad.isfinite().all()
