"""verl's answers to the cases: the functions of `core_algos` and its rollout correction, on the same tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from oracle_cases import (
    CISPO_CAP,
    DISCOUNT,
    MAX_TOKENS,
    PART_WEIGHTS,
    POLICY,
    SAPO_NEGATIVE,
    TRACE_DECAY,
    VALUE_CLIP,
    Answer,
    Answers,
    Batch,
    Policy,
    batch,
)
from oracle_padded import Reason, answer_of, padded, print_answers, tokens_of
from verl.trainer.ppo import core_algos as verl
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights, compute_rollout_rejection_mask
from verl.utils.torch_functional import masked_var
from verl.workers.config import ActorConfig

NO_DUAL_CLIP = 1e9
NO_LOWER_BOUND = 1.0
"""The ratio may fall to 0."""
MODES = {
    "token": "token-mean",
    "sequence": "seq-mean-token-mean",
    "sequence_sum": "seq-mean-token-sum",
    "constant": "seq-mean-token-sum-norm",
}
LOSSES = {
    "ppo_clip": verl.compute_policy_loss_vanilla,
    "gspo": verl.compute_policy_loss_gspo,
    "cispo": verl.compute_policy_loss_cispo,
    "sapo": verl.compute_policy_loss_sapo,
}
EPSILON = "adds 1e-6 to the standard deviation where TRL and rlpost add 1e-4"
UNBIASED = "divides the variance by the number of tokens less one; rlpost by their number"
REASONS: Mapping[str, Reason] = {
    "correction geometric_mask": Reason(
        compute_rollout_rejection_mask,
        "token_k1: torch.Tensor = -log_ratio",
        "bounds rollout / training policy, the inverse of the ratio that its weights and rlpost bound",
    ),
    "kl k3, far from the reference": Reason(verl.kl_penalty_forward, "torch.clamp(kld", "cuts the estimate at 10"),
    "grpo": Reason(verl.compute_grpo_outcome_advantage, "+ epsilon)", EPSILON),
    "grpo, a group of one": Reason(
        verl.compute_grpo_outcome_advantage,
        "id2mean[idx] = torch.tensor(0.0)",
        "takes 0 for the mean of a group of one, so that the raw reward is the advantage",
    ),
    "reinforce_plus_plus": Reason(masked_var, "bessel_correction", UNBIASED),
    "reinforce_plus_plus_baseline": Reason(masked_var, "bessel_correction", UNBIASED),
    "gae advantages, whitened": Reason(masked_var, "bessel_correction", UNBIASED),
    "normalise_then_sum": Reason(
        verl.compute_gdpo_outcome_advantage,
        "masked_whiten(new_advantage",
        "takes mean and variance over tokens, so that a long response counts more; TRL and rlpost over responses; "
        "and adds 1e-6 to the standard deviation of a group",
    ),
}


def config_of(case: Policy) -> ActorConfig:
    """Return the actor's settings for one case."""
    high = CISPO_CAP - 1 if case.surrogate == "cispo" else case.clip_high
    config = ActorConfig(
        strategy="fsdp",
        ppo_micro_batch_size_per_gpu=1,
        rollout_n=1,
        clip_ratio_low=NO_LOWER_BOUND if case.surrogate == "cispo" else case.clip_low,
        clip_ratio_high=high,
        clip_ratio_c=case.dual_clip or NO_DUAL_CLIP,
        tau_pos=1.0,
        tau_neg=SAPO_NEGATIVE,
    )
    if case.normalisation == "constant":
        config.global_batch_info["loss_scale_factor"] = MAX_TOKENS
    return config


def weights_of(case: Policy, data: Batch) -> torch.Tensor | None:
    """Return the weights of the rollout correction."""
    if case.correction == "none":
        return None
    log_BT, mask_BT = padded(data.centre_BT(case) - data.behaviour_BT), padded(data.mask_BT)
    if case.correction == "geometric_mask":
        bounds = f"{case.low}_{case.high}"
        return compute_rollout_rejection_mask(log_BT, mask_BT, "seq_mean_k1", bounds)[0]
    level = "sequence" if case.correction.startswith("sequence") else "token"
    is_cut = case.correction in ("truncate", "sequence_truncate")
    bounds = case.high if is_cut else f"{case.low}_{case.high}"
    return compute_rollout_correction_weights(log_BT, mask_BT, level, bounds)[0]


def policy_answer(case: Policy, data: Batch) -> Answer:
    """Return loss and gradient of one policy loss."""
    logprobs_BT, mask_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.mask_BT)
    loss, _ = LOSSES[case.surrogate](
        old_log_prob=padded(data.centre_BT(case)),
        log_prob=logprobs_BT,
        advantages=padded(data.advantages_BT),
        response_mask=mask_BT,
        loss_agg_mode=MODES[case.normalisation],
        config=config_of(case),
        rollout_is_weights=weights_of(case, data),
    )
    if case.kl is not None:
        kl_BT = verl.kl_penalty(logprobs_BT, padded(data.reference_BT), case.kl)
        loss = loss + case.kl_coefficient * verl.agg_loss(kl_BT, mask_BT, MODES[case.normalisation])
    return answer_of(loss, wrt=logprobs_BT, data=data)


def other_answers(data: Batch) -> Answers:
    """Return the losses and estimates around the policy loss."""
    logprobs_BT, values_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.values_BT).requires_grad_()
    mask_BT = padded(data.mask_BT)
    value_loss, _ = verl.compute_value_loss(
        values_BT, padded(data.returns_BT), padded(data.old_values_BT), mask_BT, VALUE_CLIP
    )
    far = verl.kl_penalty(torch.tensor([-6.0]), torch.tensor([-1.0]), "k3")
    return {
        "cross_entropy": answer_of(verl.agg_loss(-logprobs_BT, mask_BT, "token-mean"), wrt=logprobs_BT, data=data),
        "value_loss": answer_of(value_loss, wrt=values_BT, data=data),
        "kl k3, far from the reference": Answer(far.tolist(), []),
    } | {
        f"kl {name}": tokens_of(verl.kl_penalty(logprobs_BT.detach(), padded(data.reference_BT), name), data)
        for name in ("k1", "k2", "k3")
    }


def gdpo(data: Batch, mask_BT: torch.Tensor) -> torch.Tensor:
    """Return the advantages of two rewards; verl wants them beside the batch."""
    lengths_B = mask_BT.sum(1).long()
    attention_BT = torch.cat([torch.ones(len(lengths_B), 1), mask_BT], 1).long()
    parts = {f"part{index}": values_B for index, values_B in enumerate(data.parts_BK.T)}
    return verl.compute_gdpo_outcome_advantage(
        padded(data.mask_BT),
        mask_BT,
        data.group_B,
        config={"gdpo_reward_keys": list(parts), "gdpo_reward_weights": list(PART_WEIGHTS)},
        non_tensor_batch=parts,
        batch={"prompts": torch.ones(len(lengths_B), 1), "attention_mask": attention_BT},
    )[0]


def advantage_answers(data: Batch) -> Answers:
    """Return one number a token."""
    mask_BT, one = padded(data.mask_BT), torch.ones(1, 1)
    outcomes_BT = padded(data.rewards_BT + data.penalties_BT)
    grpo = verl.compute_grpo_outcome_advantage

    def of(function: Callable[..., Any], **settings: Any) -> Answer:
        return tokens_of(function(outcomes_BT.clone(), mask_BT, index=data.group_B, **settings)[0], data)

    plus, _ = verl.compute_reinforce_plus_plus_outcome_advantage(
        padded(data.rewards_BT), mask_BT, config=SimpleNamespace(gamma=1.0)
    )
    advantages_BT, returns_BT = verl.compute_gae_advantage_return(
        padded(data.rewards_BT), padded(data.old_values_BT), mask_BT, DISCOUNT, TRACE_DECAY
    )
    return {
        "grpo": of(grpo),
        "grpo, a group of one": Answer([grpo(one * 0.7, one, index=np.array([0]))[0].item()], []),
        "dr_grpo": of(grpo, norm_adv_by_std_in_grpo=False),
        "leave_one_out": of(verl.compute_rloo_outcome_advantage),
        "reinforce_plus_plus": tokens_of(plus, data),
        "reinforce_plus_plus_baseline": of(verl.compute_reinforce_plus_plus_baseline_outcome_advantage),
        "normalise_then_sum": tokens_of(gdpo(data, mask_BT), data),
        "gae returns": tokens_of(returns_BT, data),
        "gae advantages, whitened": tokens_of(advantages_BT, data),
    }


if __name__ == "__main__":
    numbers = batch()
    policies = {name: policy_answer(case, numbers) for name, case in POLICY.items() if case.proximal != "log_linear"}
    print_answers(policies | other_answers(numbers) | advantage_answers(numbers), REASONS)
