"""The advantages written from their papers, in float64 and numpy alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle_cases import DISCOUNT, PART_WEIGHTS, TRACE_DECAY, Answer, Answers, Array, Batch


def by_group(data: Batch, rewards_B: Array, scheme: Callable[[Array], Array]) -> Array:
    """Apply a scheme to the rewards of each group."""
    advantages_B = np.empty_like(rewards_B)
    for group in np.unique(data.group_B):
        advantages_B[data.group_B == group] = scheme(rewards_B[data.group_B == group])
    return advantages_B


def standardised(rewards_G: Array) -> Array:
    """GRPO, section 4.1.2: distance from the mean in standard deviations (unbiased), plus 1e-4 below the fraction."""
    deviation = np.sqrt(((rewards_G - rewards_G.mean()) ** 2).sum() / (len(rewards_G) - 1))
    return (rewards_G - rewards_G.mean()) / (deviation + 1e-4)


def distances(rewards_G: Array) -> Array:
    """Dr. GRPO, section 3.2."""
    return rewards_G - rewards_G.mean()


def leave_one_out(rewards_G: Array) -> Array:
    """RLOO: the baseline is the mean of the other samples."""
    return np.array([reward - np.delete(rewards_G, index).mean() for index, reward in enumerate(rewards_G)])


def whitened(values_T: Array) -> Array:
    """Mean 0 and variance 1 over all tokens; the variance is that of these tokens, not an estimate for others."""
    return (values_T - values_T.mean()) / np.sqrt(((values_T - values_T.mean()) ** 2).mean() + 1e-8)


def returns_to_go(data: Batch, scores_B: Array) -> Array:
    """REINFORCE++ without discount: the score minus the penalties from this token on; shape [T]."""
    to_go_BT = scores_B[:, None] - np.cumsum((data.penalties_BT * data.mask_BT)[:, ::-1], 1)[:, ::-1]
    return to_go_BT[data.is_token_BT]


def gae(data: Batch) -> Array:
    """GAE, equation 16: the discounted sum of `r_t + gamma V_(t+1) - V_t`; the value after the end is 0."""
    advantages_BT = np.zeros_like(data.values_BT)
    for row, length in enumerate(data.mask_BT.sum(1).astype(int)):
        values_T = np.append(data.old_values_BT[row, :length], 0.0)
        errors_T = data.rewards_BT[row, :length] + DISCOUNT * values_T[1:] - values_T[:-1]
        for first in range(length):
            powers = (DISCOUNT * TRACE_DECAY) ** np.arange(length - first)
            advantages_BT[row, first] = (powers * errors_T[first:]).sum()
    return advantages_BT[data.is_token_BT]


def normalised_then_summed(data: Batch) -> Array:
    """GDPO: each reward standardised in its group, the weighted sum divided by its deviation over the step."""
    sums_B = sum(
        weight * by_group(data, data.parts_BK[:, part], standardised) for part, weight in enumerate(PART_WEIGHTS)
    )
    assert isinstance(sums_B, np.ndarray)
    return (sums_B - sums_B.mean()) / (np.sqrt(((sums_B - sums_B.mean()) ** 2).sum() / (len(sums_B) - 1)) + 1e-4)


def advantage_answers(data: Batch) -> Answers:
    """One number a token; the group-relative schemes have no penalties here."""
    group_relative = {
        "grpo": by_group(data, data.scores_B, standardised),
        "dr_grpo": by_group(data, data.scores_B, distances),
        "leave_one_out": by_group(data, data.scores_B, leave_one_out),
        "normalise_then_sum": normalised_then_summed(data),
    }
    found = {
        name: np.repeat(advantages_B, data.mask_BT.sum(1).astype(int)) for name, advantages_B in group_relative.items()
    }
    centred_B = by_group(data, data.scores_B, distances)
    found |= {
        "grpo, a group of one": np.zeros(1),
        "reinforce_plus_plus": whitened(returns_to_go(data, data.scores_B)),
        "reinforce_plus_plus_baseline": whitened(np.repeat(centred_B, data.mask_BT.sum(1).astype(int))),
        "gae returns": gae(data) + data.old_values_BT[data.is_token_BT],
        "gae advantages, whitened": whitened(gae(data)),
    }
    return {name: Answer(advantages.tolist(), []) for name, advantages in found.items()}
