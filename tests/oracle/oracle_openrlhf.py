"""OpenRLHF's answers to the cases: the modules of its `models/loss.py`, on the same tensors.

Its package imports deepspeed and flash-attn, which need a GPU's compiler and which these modules do not use. An empty
module stands in for deepspeed, and the `__init__` of `openrlhf.models` is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from oracle_cases import POLICY, PREFERENCE_BETA, VALUE_CLIP, Answer, Answers, Batch, Policy, batch
from oracle_padded import Reason, answer_of, leave_out, padded, print_answers, tokens_of

CORRECTIONS = {
    "none": {},
    "truncate": {"is_correction_level": "token", "is_correction_mode": "clip"},
    "icepop": {"is_correction_level": "token", "is_correction_mode": "mask"},
    "geometric_mask": {"is_correction_level": "seq", "is_correction_mode": "mask"},
}


def policy_answer(loss: Any, case: Policy, data: Batch) -> Answer:
    """Return loss and gradient of one policy loss."""
    module = loss.PolicyLoss(
        clip_eps_low=case.clip_low,
        clip_eps_high=case.clip_high,
        dual_clip=case.dual_clip,
        token_level_loss=case.normalisation == "token",
        policy_loss_type="gspo" if case.surrogate == "gspo" else "ppo",
        is_correction_threshold=(case.low, case.high),
        **CORRECTIONS[case.correction],
    )
    logprobs_BT = padded(data.logprobs_BT).requires_grad_()
    total = module(
        logprobs_BT,
        padded(data.centre_BT(case)),
        padded(data.advantages_BT),
        padded(data.mask_BT),
        rollout_log_probs=padded(data.behaviour_BT),
    )[0]
    return answer_of(total, wrt=logprobs_BT, data=data)


def other_answers(loss: Any, data: Batch) -> Answers:
    """Return the losses that are no policy gradients."""
    logprobs_BT, values_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.values_BT).requires_grad_()
    mask_BT, scores_B = padded(data.mask_BT), padded(data.scores_B).requires_grad_()
    value_loss = loss.ValueLoss(clip_eps=VALUE_CLIP)(
        values_BT, padded(data.old_values_BT), padded(data.returns_BT), mask_BT
    )
    pairs = loss.PairWiseLoss()(scores_B[0::2], scores_B[1::2])
    sums_B, frozen_B = (logprobs_BT * mask_BT).sum(1), padded((data.reference_BT * data.mask_BT).sum(1))
    dpo = loss.DPOLoss(beta=PREFERENCE_BETA)(sums_B[0::2], sums_B[1::2], frozen_B[0::2], frozen_B[1::2])[0]
    return {
        "cross_entropy": answer_of(loss.SFTLoss()(logprobs_BT, mask_BT), wrt=logprobs_BT, data=data),
        "value_loss": answer_of(value_loss, wrt=values_BT, data=data),
        "reward_model": Answer([pairs.item()], torch.autograd.grad(pairs, scores_B)[0].tolist()),
        "preference": answer_of(dpo, wrt=logprobs_BT, data=data),
    }


def main() -> None:
    """Print the answers."""
    sys.modules["deepspeed"] = ModuleType("deepspeed")
    leave_out("openrlhf", packages=["openrlhf.models"])
    loss, estimates = import_module("openrlhf.models.loss"), import_module("openrlhf.models.utils")
    data = batch()
    policies = {
        name: policy_answer(loss, case, data)
        for name, case in POLICY.items()
        if case.surrogate in ("ppo_clip", "gspo")
        and case.normalisation in ("token", "sequence")
        and case.correction in CORRECTIONS
        and case.kl is None
        and case.proximal != "log_linear"
    }
    kl = estimates.compute_approx_kl
    logprobs_BT, reference_BT = padded(data.logprobs_BT), padded(data.reference_BT)
    found = {
        f"kl {name}": tokens_of(kl(logprobs_BT, reference_BT, kl_estimator=name), data) for name in ("k1", "k2", "k3")
    }
    far = kl(torch.tensor([-6.0]), torch.tensor([-1.0]), kl_estimator="k3")
    reasons: Mapping[str, Reason] = {
        "kl k3, far from the reference": Reason(kl, "value.clamp(min=-10", "cuts the estimate at 10"),
        "correction geometric_mask": Reason(
            loss.PolicyLoss.forward,
            "torch.where(keep, token_is",
            "responses that are kept carry the ratio of each token as well; rlpost's mask has no weights, as SkyRL's",
        ),
    }
    far_answer = {"kl k3, far from the reference": Answer(far.tolist(), [])}
    print_answers(policies | other_answers(loss, data) | found | far_answer, reasons)


if __name__ == "__main__":
    main()
