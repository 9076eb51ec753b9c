"""The losses and KL estimates written from their papers, in float64 and numpy alone; gradients are central differences.

A paper's stop-gradient is an argument of its own here (`frozen_BT`), which the differences leave alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from float64_advantages import advantage_answers
from oracle_cases import (
    CISPO_CAP,
    MAX_TOKENS,
    POLICY,
    PREFERENCE_BETA,
    SAPO_NEGATIVE,
    VALUE_CLIP,
    Answer,
    Answers,
    Array,
    Batch,
    Policy,
    batch,
)

STEP = 1e-6


def derivative(function: Callable[[Array], float], at: Array, where: np.ndarray) -> list[float]:
    """Central differences by the elements of `at` that `where` marks."""
    slopes: list[float] = []
    for index in np.argwhere(where):
        up, down = at.copy(), at.copy()
        up[tuple(index)] += STEP
        down[tuple(index)] -= STEP
        slopes.append((function(up) - function(down)) / (2 * STEP))
    return slopes


def averaged(losses_BT: Array, mask_BT: Array, normalisation: str) -> float:
    """Token: DAPO, section 3.3. Sequence: GRPO, equation 3. Sum: RLOO, equation 6. Constant: Dr. GRPO, section 3.2."""
    sums_B, lengths_B = (losses_BT * mask_BT).sum(1), mask_BT.sum(1)
    averages = {
        "token": sums_B.sum() / lengths_B.sum(),
        "sequence": (sums_B / lengths_B).mean(),
        "sequence_sum": sums_B.mean(),
        "constant": sums_B.mean() / MAX_TOKENS,
    }
    return float(averages[normalisation])


def clipped(ratios: Array, advantages: Array, case: Policy) -> Array:
    """PPO, equation 7, with DAPO's separate bounds; Ye et al., equation 5, if there is a dual clip."""
    objective = np.minimum(ratios * advantages, np.clip(ratios, 1 - case.clip_low, 1 + case.clip_high) * advantages)
    if case.dual_clip is not None:
        objective = np.where(advantages < 0, np.maximum(objective, case.dual_clip * advantages), objective)
    return -objective


def surrogate(case: Policy, data: Batch, logprobs_BT: Array, frozen_BT: Array) -> Array:
    """The loss of each token."""
    centre_BT, advantages_BT = data.centre_BT(case), data.advantages_BT
    ratios_BT = np.exp(logprobs_BT - centre_BT)
    if case.surrogate == "ppo_clip":
        return clipped(ratios_BT, advantages_BT, case)
    if case.surrogate == "gspo":  # equation 7: the ratio of a response is the geometric mean of its tokens'
        mean_B = ((logprobs_BT - centre_BT) * data.mask_BT).sum(1) / data.mask_BT.sum(1)
        return clipped(np.exp(mean_B)[:, None] * np.ones_like(logprobs_BT), advantages_BT, case)
    if case.surrogate == "cispo":  # equations 4 and 5: the capped ratio has no gradient
        return -np.minimum(np.exp(frozen_BT - centre_BT), CISPO_CAP) * advantages_BT * logprobs_BT
    assert case.surrogate == "sapo"
    temperatures_BT = np.where(advantages_BT > 0, 1.0, SAPO_NEGATIVE)
    gates_BT = 4 / temperatures_BT / (1 + np.exp(-temperatures_BT * (ratios_BT - 1)))
    return -gates_BT * advantages_BT


def correction(case: Policy, data: Batch) -> Array:
    """The weight of each token for the distance from the policy that sampled it."""
    log_BT = (data.centre_BT(case) - data.behaviour_BT) * data.mask_BT
    ones_BT = np.ones_like(log_BT)
    products_BT = np.exp(log_BT.sum(1))[:, None] * ones_BT
    means_BT = np.exp(log_BT.sum(1) / data.mask_BT.sum(1))[:, None] * ones_BT

    def within(weights_BT: Array) -> Array:
        return ((weights_BT >= case.low) & (weights_BT <= case.high)).astype(np.float64)

    weights = {
        "none": ones_BT,
        "truncate": np.clip(np.exp(log_BT), case.low, case.high),
        "icepop": np.exp(log_BT) * within(np.exp(log_BT)),
        "sequence_truncate": np.clip(products_BT, case.low, case.high),
        "sequence_mask": products_BT * within(products_BT),
        "geometric_mask": within(means_BT),
    }
    return weights[case.correction]


def kl_estimate(name: str, logprobs: Array, reference: Array) -> Array:
    """Schulman: k1 = -log r, k2 = (log r)^2 / 2, k3 = (r - 1) - log r, with r = reference / policy."""
    log_ratios = reference - logprobs
    return {"k1": -log_ratios, "k2": log_ratios**2 / 2, "k3": np.exp(log_ratios) - 1 - log_ratios}[name]


def policy_answer(case: Policy, data: Batch, *, weights_BT: Array) -> Answer:
    """Loss and gradient of one policy loss, whose tokens have these weights."""

    def loss(logprobs_BT: Array) -> float:
        losses_BT = surrogate(case, data, logprobs_BT, data.logprobs_BT) * weights_BT
        if case.kl is not None:
            losses_BT = losses_BT + case.kl_coefficient * kl_estimate(case.kl, logprobs_BT, data.reference_BT)
        return averaged(losses_BT, data.mask_BT, case.normalisation)

    return Answer([loss(data.logprobs_BT)], derivative(loss, data.logprobs_BT, data.is_token_BT))


def value_answer(data: Batch, *, normalisation: str) -> Answer:
    """The critic's loss: PPO2 of OpenAI baselines averages over tokens."""

    def loss(values_BT: Array) -> float:
        near_BT = data.old_values_BT + np.clip(values_BT - data.old_values_BT, -VALUE_CLIP, VALUE_CLIP)
        errors_BT = np.maximum((values_BT - data.returns_BT) ** 2, (near_BT - data.returns_BT) ** 2)
        return averaged(errors_BT / 2, data.mask_BT, normalisation)

    return Answer([loss(data.values_BT)], derivative(loss, data.values_BT, data.is_token_BT))


def bradley_terry(scores_B: Array) -> float:
    """The mean of `-log sigmoid(chosen - rejected)`; rows are pairs, chosen before rejected."""
    return float(np.log1p(np.exp(scores_B[1::2] - scores_B[0::2])).mean())


def other_answers(data: Batch) -> Answers:
    """The losses that are no policy gradients."""

    def cross_entropy(logprobs_BT: Array) -> float:
        return averaged(-logprobs_BT, data.mask_BT, "token")

    def preference(logprobs_BT: Array) -> float:
        return bradley_terry(PREFERENCE_BETA * ((logprobs_BT - data.reference_BT) * data.mask_BT).sum(1))

    def normalised_preference(logprobs_BT: Array) -> float:
        sums_B = ((logprobs_BT - data.reference_BT) * data.mask_BT).sum(1)
        return bradley_terry(PREFERENCE_BETA * sums_B / data.mask_BT.sum(1))

    cases: dict[str, tuple[Callable[[Array], float], Array, np.ndarray]] = {
        "cross_entropy": (cross_entropy, data.logprobs_BT, data.is_token_BT),
        "preference": (preference, data.logprobs_BT, data.is_token_BT),
        "preference, length-normalised": (normalised_preference, data.logprobs_BT, data.is_token_BT),
        "reward_model": (bradley_terry, data.scores_B, np.ones(len(data.scores_B), bool)),
    }
    found = {name: Answer([loss(at)], derivative(loss, at, where)) for name, (loss, at, where) in cases.items()}
    return found | {"value_loss": value_answer(data, normalisation="token")}


def estimate_answers(data: Batch) -> Answers:
    """The KL estimates of each token."""
    logprobs_T, reference_T = data.logprobs_BT[data.is_token_BT], data.reference_BT[data.is_token_BT]
    found = {f"kl {name}": kl_estimate(name, logprobs_T, reference_T) for name in ("k1", "k2", "k3")}
    found["kl k3, far from the reference"] = kl_estimate("k3", np.array([-6.0]), np.array([-1.0]))
    return {name: Answer(estimates.tolist(), []) for name, estimates in found.items()}


def reference_answers() -> Answers:
    """All cases."""
    data = batch()
    policies = {name: policy_answer(case, data, weights_BT=correction(case, data)) for name, case in POLICY.items()}
    return policies | other_answers(data) | estimate_answers(data) | advantage_answers(data)
