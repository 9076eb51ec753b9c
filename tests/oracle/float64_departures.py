"""The reference with the change that explains a framework's difference, in float64 and numpy alone.

`run_oracle.py` wants each framework that departs from the paper to equal its departure here: then the reason is the
whole reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from float64_advantages import by_group, distances, gae, returns_to_go
from float64_reference import policy_answer, value_answer
from oracle_cases import PART_WEIGHTS, POLICY, Answer, Array, Batch, Policy, batch


def within(weights_BT: Array, case: Policy) -> Array:
    """1 inside the bounds of a case, 0 outside."""
    return ((weights_BT >= case.low) & (weights_BT <= case.high)).astype(np.float64)


def corrections(data: Batch) -> dict[tuple[str, str], Answer]:
    """Other weights for the distance from the policy that sampled."""
    log_BT = (data.proximal_BT - data.behaviour_BT) * data.mask_BT
    products_BT = np.exp(log_BT.sum(1, keepdims=True)) * np.ones_like(log_BT)
    means_BT = np.exp(log_BT.sum(1, keepdims=True) / data.mask_BT.sum(1, keepdims=True)) * np.ones_like(log_BT)
    geometric, product = POLICY["correction geometric_mask"], POLICY["correction sequence_mask"]
    high = POLICY["correction sequence_truncate"].high
    weights = {
        ("verl", "correction geometric_mask"): within(1 / means_BT, geometric),
        ("OpenRLHF", "correction geometric_mask"): within(means_BT, geometric) * np.exp(log_BT),
        ("AReaL", "correction geometric_mask"): within(means_BT, geometric) * means_BT,
        ("AReaL", "correction sequence_mask"): within(products_BT, product) * means_BT,
        ("AReaL", "correction sequence_truncate"): np.where(products_BT <= high, means_BT, np.minimum(means_BT, high)),
    }
    return {key: policy_answer(POLICY[key[1]], data, weights_BT=weights_BT) for key, weights_BT in weights.items()}


def unbiased(values_T: Array) -> Array:
    """Mean 0 and variance 1, where the variance is divided by the number of tokens less one."""
    return (values_T - values_T.mean()) / np.sqrt(values_T.var(ddof=1) + 1e-8)


def nearer_to_zero(rewards_G: Array) -> Array:
    """GRPO's advantage with 1e-6 below the fraction."""
    return (rewards_G - rewards_G.mean()) / (rewards_G.std(ddof=1) + 1e-6)


def advantages(data: Batch) -> dict[tuple[str, str], Array]:
    """Other divisors of the advantages."""
    lengths_B = data.mask_BT.sum(1).astype(int)
    centred_B = by_group(data, data.scores_B, distances)
    summed_B = np.sum(
        [
            weight * by_group(data, parts_B, nearer_to_zero)
            for weight, parts_B in zip(PART_WEIGHTS, data.parts_BK.T, strict=True)
        ],
        axis=0,
    )
    found: dict[tuple[str, str], Array] = {
        ("verl", "reinforce_plus_plus_baseline"): unbiased(np.repeat(centred_B, lengths_B)),
        ("verl", "normalise_then_sum"): unbiased(np.repeat(summed_B, lengths_B)),
    }
    for who in ("verl", "SkyRL"):
        found |= {
            (who, "grpo"): np.repeat(by_group(data, data.scores_B, nearer_to_zero), lengths_B),
            (who, "grpo, a group of one"): np.array([0.7 / (1 + 1e-6)]),
            (who, "reinforce_plus_plus"): unbiased(returns_to_go(data, data.scores_B)),
            (who, "gae advantages, whitened"): unbiased(gae(data)),
        }
    return found


def departures() -> Mapping[tuple[str, str], Answer]:
    """Framework and case -> the answer that its reason leads to."""
    data = batch()
    far = {(who, "kl k3, far from the reference"): Answer([10.0], []) for who in ("verl", "OpenRLHF", "SkyRL", "AReaL")}
    plain = {key: Answer(values.tolist(), []) for key, values in advantages(data).items()}
    return corrections(data) | plain | far | {("SkyRL", "value_loss"): value_answer(data, normalisation="sequence")}
