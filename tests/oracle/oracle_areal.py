"""AReaL's answers to the cases: its loss functions, its estimate of the proximal policy and its advantages.

AReaL averages over tokens alone. GSPO and SAPO, which average over responses, are asked with advantages that are
divided by the length of their response. Most of its functions compute in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from oracle_cases import (
    DISCOUNT,
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
from oracle_padded import Reason, answer_of, leave_out, padded, print_answers, tokens_of

LEFT_OUT = [
    "areal",
    "areal.api",
    "areal.engine",
    "areal.engine.fsdp_utils",
    "areal.experimental.training_service.controller.controller",
    "areal.infra",
    "areal.infra.platforms",
    "areal.infra.rpc.serialization",
    "areal.trainer",
    "areal.utils.functional",
]
CORRECTIONS: Mapping[str, Mapping[str, str]] = {
    "truncate": {"level": "token", "action": "clamp"},
    "icepop": {"level": "token", "action": "mask"},
    "sequence_truncate": {"level": "sequence", "action": "clamp", "agg": "sum"},
    "sequence_mask": {"level": "sequence", "action": "mask", "agg": "sum"},
    "geometric_mask": {"level": "sequence", "action": "mask", "agg": "mean"},
}
VERSION = 10
"""The version of the proximal policy; the current one is an update after it."""


class Areal(NamedTuple):
    """The modules with the functions that are asked."""

    losses: Any
    data: Any
    actor: Any
    settings: Any


def reasons_of(areal: Areal) -> Mapping[str, Reason]:
    """Name the lines that differ."""
    geometric = Reason(
        areal.losses.apply_rejection_sampling,
        "behave_imp_weight = torch.exp(seq_log_mean).expand_as",
        "weighs every token of a response with the geometric mean of its ratios, TRL and rlpost with their product",
    )
    return {
        "correction sequence_truncate": geometric,
        "correction sequence_mask": geometric,
        "correction geometric_mask": geometric._replace(
            why="responses that are kept carry the geometric mean as well; rlpost's mask has no weights, as SkyRL's"
        ),
        "kl k3, far from the reference": Reason(
            areal.data.KLEstimator._compute_approx_kl, "clamp(min=-10", "cuts the estimate at 10"
        ),
    }


def policy_answer(areal: Areal, case: Policy, data: Batch) -> Answer:
    """Return loss and gradient of one policy loss."""
    logprobs_BT, mask_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.mask_BT).bool()
    advantages_BT, centre_BT = padded(data.advantages_BT), padded(data.centre_BT(case))
    if case.normalisation == "sequence":
        advantages_BT *= mask_BT.sum() / mask_BT.sum(1, keepdim=True) / len(mask_BT)
    if case.surrogate == "sapo":
        loss, _ = areal.losses.sapo_loss_fn(logprobs_BT, centre_BT, advantages_BT, 1.0, SAPO_NEGATIVE, mask_BT)
        return answer_of(loss, wrt=logprobs_BT, data=data)
    if case.proximal == "log_linear":
        versions_BT = padded(VERSION - data.ages_BT)
        estimates = areal.actor.compute_prox_logp_approximations(
            padded(data.behaviour_BT), logprobs_BT.detach(), versions_BT, VERSION + 1, "loglinear"
        )
        centre_BT = estimates["loglinear"]
    correction = None
    if case.correction != "none":
        lower = case.low if case.low > 0 else None
        correction = areal.settings.RejectionSamplingConfig(
            metric="ratio", upper=case.high, lower=lower, **CORRECTIONS[case.correction]
        )
    loss, _ = areal.losses.ppo_actor_loss_fn(
        logprobs_BT,
        centre_BT,
        padded(data.behaviour_BT),
        advantages_BT,
        case.clip_low,
        mask_BT,
        eps_clip_higher=case.clip_high,
        c_clip=case.dual_clip,
        rejection_sampling=correction,
        importance_sampling_level="sequence" if case.surrogate == "gspo" else "token",
    )
    return answer_of(loss, wrt=logprobs_BT, data=data)


def other_answers(areal: Areal, data: Batch) -> Answers:
    """Return the losses and estimates around the policy loss."""
    logprobs_BT, values_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.values_BT).requires_grad_()
    mask_BT, reference_BT = padded(data.mask_BT), padded(data.reference_BT)
    value_loss, _ = areal.losses.ppo_critic_loss_fn(
        values_BT.float(),
        padded(data.old_values_BT).float(),
        padded(data.returns_BT).float(),
        VALUE_CLIP,
        mask_BT.bool(),
    )
    sums_B = ((logprobs_BT - reference_BT) * mask_BT).sum(1)
    preference = areal.losses.dpo_preference_loss(sums_B[0::2] - sums_B[1::2], beta=PREFERENCE_BETA).mean()
    found = {
        f"kl {name}": tokens_of(areal.data.KLEstimator(name)(logprobs_BT.detach(), reference_BT), data)
        for name in ("k1", "k2", "k3")
    }
    far = areal.data.KLEstimator("k3")(torch.tensor([-6.0]), torch.tensor([-1.0]))
    return found | {
        "value_loss": answer_of(value_loss, wrt=values_BT, data=data),
        "preference": answer_of(preference, wrt=logprobs_BT, data=data),
        "kl k3, far from the reference": Answer(far.tolist(), []),
    }


def normalised(areal: Areal, values: torch.Tensor, *, mask: torch.Tensor | None = None, **settings: Any) -> Any:
    """Return values with the mean and the standard deviation that the settings name."""
    return areal.data.Normalization(areal.settings.NormConfig(**settings))(values, mask)


def estimated(areal: Areal, data: Batch, *, values_BT: Array, discount: float, trace_decay: float) -> tuple[Any, Any]:
    """Return advantages and returns of its actor; each row is a prompt of one token, the response and padding.

    The penalties come as a difference of log-probabilities, whose k1 estimate they are.
    """
    lengths_B = torch.tensor(data.mask_BT.sum(1)).long()
    columns = np.arange(data.mask_BT.shape[1] + 2)
    settings = SimpleNamespace(
        config=SimpleNamespace(overlong_reward_penalty=False, use_decoupled_loss=True, recompute_logprob=True),
        reward_bias=0.0,
        reward_scaling=1.0,
        reward_clip=np.inf,
        reward_norm=None,
        adv_norm=None,
        kl_ctl=1.0,
        kl_estimator=areal.data.KLEstimator("k1"),
        mask_no_eos_with_zero=False,
        discount=discount,
        gae_lambda=trace_decay,
    )
    answer = areal.actor.PPOActor._compute_advantages(
        settings,
        {
            "input_ids": torch.zeros(len(lengths_B), len(columns)),
            "attention_mask": padded(columns < lengths_B.numpy()[:, None] + 1),
            "loss_mask": padded(np.pad(data.mask_BT, ((0, 0), (1, 1)))),
            "rewards": padded(data.scores_B),
            "logprobs": padded(np.pad(data.penalties_BT * data.mask_BT, ((0, 0), (1, 1)))),
            "values": padded(np.pad(values_BT, ((0, 0), (0, 2)))),
        },
    )
    return answer["advantages"][:, :-2].double(), answer["returns"][:, :-2].double()


def advantage_answers(areal: Areal, data: Batch) -> Answers:
    """Return one number a token."""
    scores_B, mask_BT = padded(data.scores_B), padded(data.mask_BT)
    whole = {"mean_level": "batch", "std_level": "batch", "std_unbiased": False, "eps": 1e-8}
    group = {"mean_level": "group", "std_level": None, "group_size": 4}
    advantages_BT, returns_BT = estimated(
        areal, data, values_BT=data.old_values_BT, discount=DISCOUNT, trace_decay=TRACE_DECAY
    )
    plus_BT, _ = estimated(areal, data, values_BT=np.zeros_like(mask_BT), discount=1.0, trace_decay=1.0)
    centred_B = normalised(areal, scores_B, **group)
    standard = group | {"std_level": "group", "eps": 1e-4}
    of_responses = {
        "grpo": normalised(areal, scores_B, **standard),
        "dr_grpo": centred_B,
        "leave_one_out": normalised(areal, scores_B, **group, mean_leave1out=True),
    }
    of_tokens = {
        "reinforce_plus_plus": normalised(areal, plus_BT, mask=mask_BT, **whole),
        "reinforce_plus_plus_baseline": normalised(areal, centred_B[:, None] * mask_BT, mask=mask_BT, **whole),
        "gae returns": returns_BT,
        "gae advantages, whitened": normalised(areal, advantages_BT, mask=mask_BT, **whole),
    } | {name: advantages_B[:, None] * mask_BT for name, advantages_B in of_responses.items()}
    one = normalised(areal, torch.tensor([0.7]), **standard | {"group_size": 1})
    found = {name: tokens_of(values_BT, data) for name, values_BT in of_tokens.items()}
    return found | {"grpo, a group of one": Answer(one.tolist(), [])}


def main() -> None:
    """Print the answers."""
    leave_out("areal", packages=LEFT_OUT)
    areal = Areal(
        losses=import_module("areal.utils.functional.functional"),
        data=import_module("areal.utils.data"),
        actor=import_module("areal.trainer.ppo.actor"),
        settings=import_module("areal.api.cli_args"),
    )
    data = batch()
    asked = {
        name: case
        for name, case in POLICY.items()
        if (case.normalisation == "token" or case.surrogate in ("gspo", "sapo"))
        and case.surrogate != "cispo"
        and case.kl is None
    }
    policies = {name: policy_answer(areal, case, data) for name, case in asked.items()}
    print_answers(policies | other_answers(areal, data) | advantage_answers(areal, data), reasons_of(areal))


if __name__ == "__main__":
    main()
