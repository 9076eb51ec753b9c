"""rlpost's answers to the cases, in float64."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from guide_steps import write_files
from oracle_cases import (
    CISPO_CAP,
    DISCOUNT,
    ESTIMATES,
    MAX_TOKENS,
    PART_WEIGHTS,
    POLICY,
    PREFERENCE_BETA,
    SAPO_NEGATIVE,
    TRACE_DECAY,
    VALUE_CLIP,
    Answer,
    Answers,
    Array,
    Batch,
    Policy,
    batch,
)
from torch import Tensor

from rlpost.advantage import advantage_of
from rlpost.advantage.gae import gae, whitened
from rlpost.advantage.kl_penalty import kl_penalty
from rlpost.advantage.normalise_then_sum import normalise_then_sum
from rlpost.interfaces import GroupScores, LossFn, LossInputs
from rlpost.losses.cispo import Cispo
from rlpost.losses.cross_entropy import CrossEntropy
from rlpost.losses.gspo import Gspo
from rlpost.losses.kl import KlPenalty
from rlpost.losses.normalisation import denominator, row_weight
from rlpost.losses.off_policy import OffPolicy
from rlpost.losses.plugin_surrogate import plugin_surrogate
from rlpost.losses.policy_loss import PolicyLoss
from rlpost.losses.ppo_clip import PpoClip
from rlpost.losses.preference import PreferenceLoss
from rlpost.losses.reward_model import RewardModelLoss
from rlpost.losses.surrogate import Surrogate
from rlpost.losses.value_loss import ValueLoss
from rlpost.recipe.rl import AdvantageConfig, PluginLossConfig
from rlpost.stages.rl.batch import proximal_mix


def loss_inputs(data: Batch, normalisation: str) -> LossInputs:
    """The tokens that exist, end to end, as a learner has them."""
    lengths_B = data.mask_BT.sum(1).astype(int)

    def tokens(values_BT: Array) -> Tensor:
        return torch.tensor(values_BT[data.is_token_BT])

    weights_B = [row_weight(normalisation, length) for length in lengths_B.tolist()]  # pyright: ignore[reportArgumentType] - cases hold plain text
    return LossInputs(
        logprobs_T=tokens(data.logprobs_BT).requires_grad_(),
        weights_T=torch.tensor(np.repeat(weights_B, lengths_B)),
        columns={
            "advantages_T": tokens(data.advantages_BT),
            "behaviour_logprobs_T": tokens(data.behaviour_BT),
            "proximal_logprobs_T": tokens(data.proximal_BT),
            "proximal_mix_T": torch.tensor(proximal_mix(data.ages_BT[data.is_token_BT], progress=1.0)).double(),
            "reference_logprobs_T": tokens(data.reference_BT),
            "old_values_T": tokens(data.old_values_BT),
            "returns_T": tokens(data.returns_BT),
        },
        values_T=tokens(data.values_BT).requires_grad_(),
        row_T=torch.tensor(np.repeat(np.arange(len(lengths_B)), lengths_B)),
        row_count=len(lengths_B),
        component="rl",
    )


def divided(total: Tensor, by: float, *, wrt: Tensor) -> Answer:
    """The loss and its gradient."""
    loss = total / by
    return Answer([loss.item()], torch.autograd.grad(loss, wrt)[0].tolist())


def surrogate_of(case: Policy, folder: Path) -> Surrogate:
    """SAPO is the example of the guide for authors, taken from the page."""
    if case.surrogate == "gspo":
        return Gspo(clip_low=case.clip_low, clip_high=case.clip_high)
    if case.surrogate == "cispo":
        return Cispo(cap=CISPO_CAP)
    if case.surrogate == "sapo":
        config = PluginLossConfig(kind=f"{folder}/sapo.py:soft_gate", params={"negative": SAPO_NEGATIVE})
        return plugin_surrogate(config)
    return PpoClip(clip_low=case.clip_low, clip_high=case.clip_high, dual_clip=case.dual_clip)


def policy_answer(case: Policy, data: Batch, folder: Path) -> Answer:
    """The policy loss of one case, around the recomputed proximal policy."""
    loss = PolicyLoss(
        surrogate=surrogate_of(case, folder),
        off_policy=OffPolicy(proximal=case.proximal, correction=case.correction, low=case.low, high=case.high),  # pyright: ignore[reportArgumentType] - cases hold plain text
        kl=None if case.kl is None else KlPenalty(coefficient=case.kl_coefficient, estimator=case.kl),  # pyright: ignore[reportArgumentType] - cases hold plain text
        value=None,
    )
    inputs = loss_inputs(data, case.normalisation)
    count = denominator(
        case.normalisation,  # pyright: ignore[reportArgumentType] - cases hold plain text
        token_count=int(data.mask_BT.sum()),
        row_count=len(data.mask_BT),
        max_tokens=MAX_TOKENS,
    )
    return divided(loss(inputs).total, count, wrt=inputs.logprobs_T)


def other_answers(data: Batch) -> Answers:
    """The losses that are no policy gradients."""
    token_count, pair_count = float(data.mask_BT.sum()), len(data.mask_BT) / 2
    inputs = loss_inputs(data, "token")
    value = ValueLoss(clip=VALUE_CLIP, coefficient=1.0)(inputs).losses_T.sum()
    losses: dict[str, tuple[LossFn, float]] = {
        "cross_entropy": (CrossEntropy(), token_count),
        "preference": (PreferenceLoss(kind="sigmoid", beta=PREFERENCE_BETA), pair_count),
        "preference, length-normalised": (PreferenceLoss(kind="sigmoid_norm", beta=PREFERENCE_BETA), pair_count),
    }
    found = {name: divided(loss(inputs).total, by, wrt=inputs.logprobs_T) for name, (loss, by) in losses.items()}
    assert inputs.values_T is not None
    return found | {
        "value_loss": divided(value, token_count, wrt=inputs.values_T),
        "reward_model": reward_model_answer(data),
    }


def reward_model_answer(data: Batch) -> Answer:
    """Each row carries its weight on one token, where its score is read."""
    scores_B = torch.tensor(data.scores_B, requires_grad=True)
    inputs = LossInputs(
        logprobs_T=torch.zeros_like(scores_B),
        weights_T=torch.ones_like(scores_B),
        columns={},
        values_T=scores_B,
        row_T=torch.arange(len(scores_B)),
        row_count=len(scores_B),
        component="reward_model",
    )
    return divided(RewardModelLoss()(inputs).total, len(scores_B) / 2, wrt=scores_B)


def estimate_answers(data: Batch) -> Answers:
    """The estimates as they stand in the reward; `losses.kl` has the same ones in the loss."""
    logprobs_T, reference_T = data.logprobs_BT[data.is_token_BT], data.reference_BT[data.is_token_BT]
    found = {
        f"kl {name}": kl_penalty(name, logprobs_T, reference_logprobs_T=reference_T) for name in ("k1", "k2", "k3")
    }
    far = kl_penalty("k3", np.array([-6.0]), reference_logprobs_T=np.array([-1.0]))
    found["kl k3, far from the reference"] = far
    assert found.keys() == ESTIMATES.keys()
    return {name: Answer(estimates.tolist(), []) for name, estimates in found.items()}


def groups_of(data: Batch, scores_B: Array, *, with_penalties: bool) -> list[GroupScores]:
    """The scores of each group, with the penalties of the tokens that exist or without."""
    lengths_B = data.mask_BT.sum(1).astype(int)
    penalties = [
        row_T[:length] if with_penalties else np.zeros(length)
        for row_T, length in zip(data.penalties_BT, lengths_B, strict=True)
    ]
    return [
        GroupScores(scores_G=scores_B[rows], penalties_GT=[penalties[row] for row in rows])
        for rows in (np.flatnonzero(data.group_B == group) for group in np.unique(data.group_B))
    ]


def advantage_answers(data: Batch) -> Answers:
    """One number a token."""

    def by(config: AdvantageConfig, groups: list[GroupScores]) -> Array:
        return np.concatenate([tokens_T for group in advantage_of(config)(groups) for tokens_T in group])

    plain = groups_of(data, data.scores_B, with_penalties=False)
    penalised = groups_of(data, data.scores_B, with_penalties=True)
    one = [GroupScores(scores_G=np.array([0.7]), penalties_GT=[np.zeros(1)])]
    summed_B = np.concatenate(normalise_then_sum(np.split(data.parts_BK, 2), np.array(PART_WEIGHTS)))
    config = AdvantageConfig(combine="normalise_then_sum", parts={"right": PART_WEIGHTS[0], "short": PART_WEIGHTS[1]})
    estimates = [
        gae(rewards_T[is_T], values_T[is_T], discount=DISCOUNT, trace_decay=TRACE_DECAY)
        for rewards_T, values_T, is_T in zip(data.rewards_BT, data.old_values_BT, data.is_token_BT, strict=True)
    ]
    found = {
        name: by(AdvantageConfig(scheme=name), plain)
        for name in ("grpo", "dr_grpo", "leave_one_out", "reinforce_plus_plus_baseline")
    } | {
        "grpo, a group of one": by(AdvantageConfig(scheme="grpo"), one),
        "reinforce_plus_plus": by(AdvantageConfig(scheme="reinforce_plus_plus"), penalised),
        "normalise_then_sum": by(config, groups_of(data, summed_B, with_penalties=False)),
        "gae returns": np.concatenate([estimate.returns_T for estimate in estimates]),
        "gae advantages, whitened": np.concatenate(whitened([estimate.advantages_T for estimate in estimates])),
    }
    return {name: Answer(advantages.tolist(), []) for name, advantages in found.items()}


def our_answers() -> Answers:
    """All cases."""
    data = batch()
    with tempfile.TemporaryDirectory() as folder:
        write_files("write-an-algorithm.md", Path(folder))
        answer = partial(policy_answer, data=data, folder=Path(folder))
        policies = {name: answer(case) for name, case in POLICY.items()}
    return policies | other_answers(data) | estimate_answers(data) | advantage_answers(data)
