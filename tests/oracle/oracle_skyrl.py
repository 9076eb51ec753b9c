"""SkyRL's answers to the cases: the functions of its `ppo_utils` and off-policy correction, on the same tensors.

SkyRL sums the losses of tokens whose advantages were divided before, so its averages are of the advantages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from oracle_cases import (
    CISPO_CAP,
    DISCOUNT,
    MAX_TOKENS,
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
from oracle_padded import Reason, answer_of, leave_out, padded, print_answers, tokens_of

REDUCTIONS = {"token": "token_mean", "sequence": "sequence_mean", "constant": "seq_mean_token_sum_norm"}
NO_LOWER_BOUND = 1.0
"""CISPO's ratio may fall to 0."""
UNBIASED = "divides the variance by the number of tokens less one; rlpost by their number"


def reasons_of(skyrl: Any) -> Mapping[str, Reason]:
    """Name the lines that differ."""
    return {
        "value_loss": Reason(
            skyrl.ppo_critic_loss,
            "loss = masked_mean(loss, loss_mask, dim=-1).mean()",
            "averages over responses, so that a token of a short one counts more; rlpost over tokens, as PPO2 does",
        ),
        "kl k3, far from the reference": Reason(skyrl.compute_approx_kl, "torch.clamp(kld", "cuts the estimate at 10"),
        "grpo": Reason(
            skyrl.compute_grpo_outcome_advantage,
            "+ epsilon)",
            "adds 1e-6 to the standard deviation where TRL and rlpost add 1e-4",
        ),
        "grpo, a group of one": Reason(
            skyrl.compute_grpo_outcome_advantage,
            "id2mean[idx] = torch.tensor(0.0)",
            "takes 0 for the mean of a group of one, so that the raw reward is the advantage",
        ),
        "reinforce_plus_plus": Reason(skyrl.masked_var, "bessel_correction =", UNBIASED),
        "gae advantages, whitened": Reason(skyrl.masked_var, "bessel_correction =", UNBIASED),
    }


def correction_of(case: Policy) -> SimpleNamespace:
    """Return the settings of the off-policy correction."""
    is_token = case.correction in ("truncate", "icepop")
    is_product = case.correction in ("sequence_truncate", "sequence_mask")
    masks = {"sequence_mask": "product", "geometric_mask": "geometric"}
    cap = case.high if case.correction in ("truncate", "sequence_truncate") else np.inf
    return SimpleNamespace(
        tis_ratio_type="token" if is_token else "sequence" if is_product else None,
        token_tis_ratio_clip_high=cap,
        sequence_tis_ratio_clip_high=cap,
        sequence_mask_metric=masks.get(case.correction),
        product_mask_low=case.low,
        product_mask_high=case.high,
        geo_mask_low=case.low,
        geo_mask_high=case.high,
        outlier_token_is_threshold_low=None,
        outlier_token_is_threshold_high=None,
        token_mask_is_threshold_low=case.low if case.correction == "icepop" else None,
        token_mask_is_threshold_high=case.high if case.correction == "icepop" else None,
    )


def policy_answer(skyrl: Any, case: Policy, data: Batch) -> Answer:
    """Return loss and gradient of one policy loss."""
    kind = "dual_clip" if case.dual_clip else {"ppo_clip": "regular"}.get(case.surrogate, case.surrogate)
    settings = SimpleNamespace(
        policy_loss_type=kind,
        eps_clip_low=case.clip_low,
        eps_clip_high=case.clip_high,
        clip_ratio_c=case.dual_clip,
        cispo=SimpleNamespace(cispo_eps_clip_low=NO_LOWER_BOUND, cispo_eps_clip_high=CISPO_CAP - 1),
        sapo=SimpleNamespace(tau_pos=1.0, tau_neg=SAPO_NEGATIVE),
        loss_reduction=REDUCTIONS[case.normalisation],
        off_policy_correction=correction_of(case),
    )
    logprobs_BT, mask_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.mask_BT)
    divided_BT = skyrl.apply_loss_reduction_to_advantages_minibatch(
        padded(data.advantages_BT), mask_BT, settings.loss_reduction, len(mask_BT), MAX_TOKENS
    )
    loss, _ = skyrl.PolicyLossRegistry.get(kind)(
        logprobs_BT, padded(data.centre_BT(case)), divided_BT, settings, mask_BT, padded(data.behaviour_BT)
    )
    return answer_of(loss, wrt=logprobs_BT, data=data)


def other_answers(skyrl: Any, data: Batch) -> Answers:
    """Return the losses and estimates around the policy loss."""
    logprobs_BT, values_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.values_BT).requires_grad_()
    mask_BT, reference_BT = padded(data.mask_BT), padded(data.reference_BT)
    value_loss, _ = skyrl.ppo_critic_loss(
        values_BT, padded(data.old_values_BT), padded(data.returns_BT), SimpleNamespace(value_clip=VALUE_CLIP), mask_BT
    )
    far = skyrl.compute_approx_kl(torch.tensor([-6.0]), torch.tensor([-1.0]), kl_estimator_type="k3")
    found = {
        f"kl {name}": tokens_of(
            skyrl.compute_approx_kl(logprobs_BT.detach(), reference_BT, kl_estimator_type=name), data
        )
        for name in ("k1", "k2", "k3")
    }
    return found | {
        "value_loss": answer_of(value_loss, wrt=values_BT, data=data),
        "kl k3, far from the reference": Answer(far.tolist(), []),
    }


def advantage_answers(skyrl: Any, data: Batch) -> Answers:
    """Return one number a token."""
    mask_BT, one = padded(data.mask_BT), torch.ones(1, 1)
    outcomes_BT, grpo = padded(data.rewards_BT + data.penalties_BT), skyrl.compute_grpo_outcome_advantage

    def of(function: Callable[..., Any], **settings: Any) -> Answer:
        return tokens_of(function(outcomes_BT.clone(), mask_BT, index=data.group_B, **settings)[0], data)

    plus, _ = skyrl.compute_reinforce_plus_plus_outcome_advantage(padded(data.rewards_BT), mask_BT, gamma=1.0)
    advantages_BT, returns_BT = skyrl.compute_gae_advantage_return(
        padded(data.rewards_BT), padded(data.old_values_BT), mask_BT, DISCOUNT, TRACE_DECAY
    )
    return {
        "grpo": of(grpo),
        "grpo, a group of one": Answer([grpo(one * 0.7, one, index=np.array([0]))[0].item()], []),
        "dr_grpo": of(grpo, grpo_norm_by_std=False),
        "leave_one_out": of(skyrl.compute_rloo_outcome_advantage),
        "reinforce_plus_plus": tokens_of(plus, data),
        "gae returns": tokens_of(returns_BT, data),
        "gae advantages, whitened": tokens_of(advantages_BT, data),
    }


def main() -> None:
    """Print the answers."""
    leave_out("skyrl", packages=["skyrl.backends", "skyrl.backends.skyrl_train.utils", "skyrl.train.config"])
    skyrl, data = import_module("skyrl.backends.skyrl_train.utils.ppo_utils"), batch()
    asked = {
        name: case
        for name, case in POLICY.items()
        if case.normalisation in REDUCTIONS and case.kl is None and case.proximal != "log_linear"
    }
    policies = {name: policy_answer(skyrl, case, data) for name, case in asked.items()}
    print_answers(policies | other_answers(skyrl, data) | advantage_answers(skyrl, data), reasons_of(skyrl))


if __name__ == "__main__":
    main()
