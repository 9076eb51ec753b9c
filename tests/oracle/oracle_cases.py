"""The numbers on which every framework is asked, and the losses and advantages that are compared; numpy only.

Arrays have a row for each response and a column for each token, and `mask_BT` marks the tokens that exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MAX_TOKENS = 8
"""The longest response that may be sampled, for the normalisation `constant`; no response of the batch is as long."""


class Answer(NamedTuple):
    """The result of one case."""

    values: list[float]
    """A loss, or one number a token (estimates, advantages)."""
    gradient: list[float]
    """Derivative of the loss by each log-probability, value or score; empty for estimates and advantages."""


Answers = dict[str, Answer]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy loss with everything that is composed around it."""

    paper: str
    surrogate: str
    normalisation: str
    clip_low: float = 0.2
    clip_high: float = 0.3
    dual_clip: float | None = None
    proximal: str = "recompute"
    correction: str = "none"
    low: float = 0.0
    high: float = np.inf
    kl: str | None = None
    kl_coefficient: float = 0.0


CISPO_CAP = 1.1
SAPO_NEGATIVE = 1.5
VALUE_CLIP = 0.2
PREFERENCE_BETA = 0.7
DISCOUNT, TRACE_DECAY = 0.97, 0.9
PART_WEIGHTS = (1.0, 0.5)
PPO = "PPO, arXiv 1707.06347, equation 7"
POLICY: dict[str, Policy] = {
    "ppo_clip, mean over tokens": Policy(
        paper=f"{PPO}; DAPO, arXiv 2503.14476, section 3.3", surrogate="ppo_clip", normalisation="token"
    ),
    "ppo_clip, mean over responses": Policy(
        paper="GRPO, arXiv 2402.03300, equation 3", surrogate="ppo_clip", normalisation="sequence"
    ),
    "ppo_clip, sum of a response": Policy(
        paper="RLOO, arXiv 2402.14740, equation 6", surrogate="ppo_clip", normalisation="sequence_sum"
    ),
    "ppo_clip, constant length": Policy(
        paper="Dr. GRPO, arXiv 2503.20783, section 3.2", surrogate="ppo_clip", normalisation="constant"
    ),
    "ppo_clip, dual clip": Policy(
        paper="Ye et al., arXiv 1912.09729, equation 5", surrogate="ppo_clip", normalisation="token", dual_clip=1.35
    ),
    "gspo": Policy(
        paper="GSPO, arXiv 2507.18071, equations 5 and 7",
        surrogate="gspo",
        normalisation="sequence",
        clip_low=0.1,
        clip_high=0.15,
    ),
    "cispo": Policy(paper="CISPO, arXiv 2506.13585, equations 4 and 5", surrogate="cispo", normalisation="token"),
    "sapo": Policy(paper="SAPO, arXiv 2511.20347", surrogate="sapo", normalisation="sequence"),
    "correction truncate": Policy(
        paper="truncated importance sampling, Yao et al. 2025",
        surrogate="ppo_clip",
        normalisation="token",
        correction="truncate",
        high=1.1,
    ),
    "correction icepop": Policy(
        paper="IcePop, arXiv 2510.18855, section 3.2",
        surrogate="ppo_clip",
        normalisation="token",
        correction="icepop",
        low=0.8,
        high=1.2,
    ),
    "correction sequence_truncate": Policy(
        paper="product of the ratios of a response, at most 1.1",
        surrogate="ppo_clip",
        normalisation="token",
        correction="sequence_truncate",
        high=1.1,
    ),
    "correction sequence_mask": Policy(
        paper="product of the ratios of a response, 0 outside bounds, Liu et al. 2025",
        surrogate="ppo_clip",
        normalisation="token",
        correction="sequence_mask",
        low=0.9,
        high=1.15,
    ),
    "correction geometric_mask": Policy(
        paper="geometric mean of the ratios of a response, inside bounds or masked",
        surrogate="ppo_clip",
        normalisation="token",
        correction="geometric_mask",
        low=0.95,
        high=1.03,
    ),
    "proximal behaviour": Policy(
        paper=f"{PPO}: the policy that sampled is the centre",
        surrogate="ppo_clip",
        normalisation="token",
        proximal="behaviour",
    ),
    "proximal log_linear": Policy(
        paper="AReaL, arXiv 2505.24298, equation 5, with its log-linear estimate of the proximal policy",
        surrogate="ppo_clip",
        normalisation="token",
        proximal="log_linear",
        correction="truncate",
        high=1.1,
    ),
    "proximal current": Policy(
        paper="the same, equation 5, in the first update: ratios of 1, whose gradient is the score's",
        surrogate="ppo_clip",
        normalisation="token",
        proximal="current",
        correction="truncate",
        high=1.1,
    ),
    "ppo_clip with k2 in the loss": Policy(
        paper="Schulman, Approximating KL divergence",
        surrogate="ppo_clip",
        normalisation="token",
        kl="k2",
        kl_coefficient=0.3,
    ),
    "ppo_clip with k3 in the loss": Policy(
        paper="GRPO, arXiv 2402.03300, equations 3 and 4",
        surrogate="ppo_clip",
        normalisation="sequence",
        kl="k3",
        kl_coefficient=0.3,
    ),
}
OTHER_LOSSES = {
    "cross_entropy": "TULU 3, arXiv 2411.15124, section 4.3.2: one mean over all tokens",
    "value_loss": "PPO2 of OpenAI baselines: the larger of two squared errors, halved",
    "preference": "DPO, arXiv 2305.18290, equation 7",
    "preference, length-normalised": "TULU 3, arXiv 2411.15124, equation 6",
    "reward_model": "Ouyang et al., arXiv 2203.02155, equation 1",
}
ESTIMATES = {
    "kl k1": "Schulman, Approximating KL divergence",
    "kl k2": "Schulman, Approximating KL divergence",
    "kl k3": "Schulman, Approximating KL divergence",
    "kl k3, far from the reference": "the same, where a log-ratio is 5",
}
ADVANTAGES = {
    "grpo": "GRPO, arXiv 2402.03300, section 4.1.2; plus 1e-4 below the fraction",
    "grpo, a group of one": "a single sample has nothing to be compared with: 0",
    "dr_grpo": "Dr. GRPO, arXiv 2503.20783, section 3.2",
    "leave_one_out": "RLOO, arXiv 2402.14740",
    "reinforce_plus_plus": "REINFORCE++, arXiv 2501.03262, with penalties a token; variance over all tokens",
    "reinforce_plus_plus_baseline": "REINFORCE++ with a baseline, arXiv 2501.03262",
    "normalise_then_sum": "GDPO, arXiv 2601.05242; mean and std over responses",
    "gae returns": "GAE, arXiv 1506.02438, equation 16, plus the value",
    "gae advantages, whitened": "the same, scaled to mean 0 and variance 1 over all tokens",
}


def papers() -> Iterator[tuple[str, str]]:
    """Name of each case, with its source."""
    yield from ((name, case.paper) for name, case in POLICY.items())
    for sources in (OTHER_LOSSES, ESTIMATES, ADVANTAGES):
        yield from sources.items()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Eight responses in two groups of four; adjacent responses are also the pairs of the preference losses."""

    mask_BT: Array
    logprobs_BT: Array
    proximal_BT: Array
    behaviour_BT: Array
    reference_BT: Array
    advantages_BT: Array
    """The same for all tokens of a response."""
    values_BT: Array
    old_values_BT: Array
    returns_BT: Array
    scores_B: Array
    parts_BK: Array
    """Two rewards a response, of very different size."""
    penalties_BT: Array
    group_B: NDArray[np.int64]
    ages_BT: Array
    """The updates between the policy that sampled a token and the proximal one; float32 holds their shares exactly."""

    @property
    def is_token_BT(self) -> NDArray[np.bool_]:
        """Marks the tokens that exist."""
        return self.mask_BT > 0

    def centre_BT(self, case: Policy) -> Array:
        """Return the log-probabilities around which a case clips; the estimate is for the end of the first update."""
        mix_BT = self.ages_BT / (self.ages_BT + 1)
        centres = {
            "recompute": self.proximal_BT,
            "behaviour": self.behaviour_BT,
            "log_linear": (1 - mix_BT) * self.behaviour_BT + mix_BT * self.logprobs_BT,
            "current": self.logprobs_BT,
        }
        return centres[case.proximal]

    @property
    def rewards_BT(self) -> Array:
        """The score at the last token of a response, minus the penalty of each token."""
        rewards_BT = -self.penalties_BT
        last_B = self.mask_BT.sum(1).astype(int) - 1
        rewards_BT[np.arange(len(last_B)), last_B] += self.scores_B
        return rewards_BT


def batch() -> Batch:
    """Draw the numbers; the same ones at each call."""
    draw = np.random.default_rng(17)
    lengths_B = np.array([6, 3, 5, 1, 4, 6, 2, 5])
    shape = (len(lengths_B), int(lengths_B.max()))
    mask_BT = (np.arange(shape[1]) < lengths_B[:, None]).astype(np.float64)

    def normal(scale: float) -> Array:
        return draw.normal(scale=scale, size=shape) * mask_BT

    logprobs_BT = -np.exp(draw.normal(size=shape)) * mask_BT
    proximal_BT = logprobs_BT + normal(0.3)
    old_values_BT = normal(1.0)
    scores_B = np.array([0.0, 1.0, 1.0, 0.25, -2.0, 3.0, 3.0, 0.5])
    return Batch(
        mask_BT=mask_BT,
        logprobs_BT=logprobs_BT,
        proximal_BT=proximal_BT,
        behaviour_BT=proximal_BT + normal(0.2),
        reference_BT=logprobs_BT + normal(0.4),
        advantages_BT=draw.normal(size=(shape[0], 1)) * mask_BT,
        values_BT=old_values_BT + normal(0.3),
        old_values_BT=old_values_BT,
        returns_BT=normal(1.0),
        scores_B=scores_B,
        parts_BK=np.column_stack([scores_B, [300.0, 100.0, 200.0, 900.0, 500.0, 400.0, 10.0, 600.0]]),
        penalties_BT=normal(0.1),
        group_B=np.repeat([0, 1], 4),
        ages_BT=draw.choice([0.0, 1.0, 3.0], size=shape) * mask_BT,
    )
