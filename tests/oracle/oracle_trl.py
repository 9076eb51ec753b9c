"""TRL's answers to the cases: the method of its GRPO trainer that computes the loss, given log-probabilities.

The method takes its settings from the trainer; here they come from a plain object, and the log-probabilities of a
model's forward pass are the batch's own. TRL's other losses and its advantages stand inside larger methods:
`tests/parity` compares these on a real model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from oracle_cases import CISPO_CAP, MAX_TOKENS, POLICY, SAPO_NEGATIVE, Answer, Batch, Policy, batch
from oracle_padded import Reason, answer_of, padded, print_answers
from trl import GRPOTrainer

LOSS_TYPES = {"token": "dapo", "sequence": "grpo", "constant": "dr_grpo", "sequence_sum": "luspo"}
REASONS: Mapping[str, Reason] = {}


def settings_of(case: Policy, data: Batch, logprobs_BT: torch.Tensor) -> Any:
    """Return what the method reads of its trainer."""
    loss_type = case.surrogate if case.surrogate in ("cispo", "sapo") else LOSS_TYPES[case.normalisation]
    is_corrected = case.correction != "none"
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs_BT, torch.zeros_like(logprobs_BT), None),
        accelerator=SimpleNamespace(
            num_processes=1, reduce=lambda value, **_: value, gather=lambda value: value, sync_gradients=False
        ),
        args=SimpleNamespace(
            delta=case.dual_clip,
            use_bias_correction_kl=False,
            sapo_temperature_pos=1.0,
            sapo_temperature_neg=SAPO_NEGATIVE,
            steps_per_generation=1,
        ),
        model=SimpleNamespace(training=True),
        loss_type=loss_type,
        beta=case.kl_coefficient,
        epsilon_low=case.clip_low,
        epsilon_high=CISPO_CAP if case.surrogate == "cispo" else case.clip_high,
        importance_sampling_level="sequence" if case.surrogate == "gspo" else "token",
        max_completion_length=MAX_TOKENS,
        current_gradient_accumulation_steps=1,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        use_vllm=is_corrected,
        vllm_importance_sampling_correction=is_corrected,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
    )


def policy_answer(case: Policy, data: Batch) -> Answer:
    """Return loss and gradient of one policy loss."""
    logprobs_BT, mask_BT = padded(data.logprobs_BT).requires_grad_(), padded(data.mask_BT)
    ids_BT = torch.ones_like(mask_BT, dtype=torch.long)
    inputs = {
        "prompt_ids": ids_BT[:, :1],
        "prompt_mask": ids_BT[:, :1],
        "completion_ids": ids_BT,
        "completion_mask": mask_BT,
        "advantages": padded(data.advantages_BT),
        "old_per_token_logps": padded(data.centre_BT(case)),
        "ref_per_token_logps": padded(data.reference_BT),
        "num_items_in_batch": mask_BT.sum(),
    }
    settings = settings_of(case, data, logprobs_BT)
    return answer_of(GRPOTrainer._compute_loss(settings, None, inputs), wrt=logprobs_BT, data=data)


if __name__ == "__main__":
    numbers = batch()
    asked = {name: case for name, case in POLICY.items() if case.correction == "none" and case.kl in (None, "k3")}
    print_answers({name: policy_answer(case, numbers) for name, case in asked.items()}, REASONS)
