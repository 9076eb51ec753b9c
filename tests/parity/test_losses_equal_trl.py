"""Cross-entropy, preference and reward-model loss and their gradients equal those of TRL's own trainers.

TRL pads rows into rectangles and runs its fused output head; our side runs each row alone and takes a plain
log-softmax. What is left is float32 rounding: the largest relative errors seen are 2e-6 (loss) and 2e-6 (gradient).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tiny_models import byte_tokenizer
from torch import nn
from transformers import AutoModelForSequenceClassification
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from trl_parity import (
    COMMON,
    Row,
    assert_equal_loss_and_gradient,
    inputs_of,
    nearby,
    random_rows,
    response_logprobs,
)

from rlpost.losses.cross_entropy import CrossEntropy
from rlpost.losses.preference import PreferenceLoss
from rlpost.losses.reward_model import RewardModelLoss
from rlpost.losses.unpaired import KtoLoss
from rlpost.recipe.preference_losses import PairLoss


def test_cross_entropy_equals_sft_trainer(policy: nn.Module, tmp_path: Path) -> None:
    rows = random_rows([(5, 7), (3, 2), (8, 4)], seed=1)
    dataset = Dataset.from_list(
        [
            {
                "input_ids": row.prompt + row.response,
                "completion_mask": [0] * len(row.prompt) + [1] * len(row.response),
            }
            for row in rows
        ]
    )
    trainer = SFTTrainer(
        model=copy.deepcopy(policy),
        args=SFTConfig(output_dir=str(tmp_path), completion_only_loss=True, **COMMON),
        train_dataset=dataset,
        processing_class=byte_tokenizer(),
    )
    batch = trainer.data_collator(list(trainer.train_dataset))
    token_count = sum(len(row.response) for row in rows)
    assert int((batch["labels"] != -100).sum()) == token_count

    assert_equal_loss_and_gradient(
        policy,
        loss=CrossEntropy(),
        inputs=inputs_of(response_logprobs(policy, rows, temperature=1.0), rows),
        divisor=token_count,
        trl_model=trainer.model,
        trl_loss=trainer.compute_loss(trainer.model.train(), batch),
    )


@pytest.mark.parametrize(
    ("loss_type", "beta", "smoothing"),
    [
        ("sigmoid", 0.1, 0.0),
        ("sigmoid_norm", 5.0, 0.0),
        ("robust", 0.1, 0.2),
        ("hinge", 0.1, 0.0),
        ("ipo", 0.3, 0.0),
        ("apo_zero", 0.1, 0.0),
        ("apo_down", 0.1, 0.0),
    ],
)
def test_preference_loss_equals_dpo_trainer(
    policy: nn.Module, tmp_path: Path, loss_type: PairLoss, beta: float, smoothing: float
) -> None:
    chosen = random_rows([(5, 7), (3, 2), (6, 6)], seed=2)
    rejected = [
        Row(row.prompt, other.response)
        for row, other in zip(chosen, random_rows([(1, 4), (1, 9), (1, 1)], seed=3), strict=True)
    ]
    reference = nearby(policy, seed=4, scale=0.02)
    trainer = DPOTrainer(
        model=copy.deepcopy(policy),
        ref_model=copy.deepcopy(reference),
        args=DPOConfig(output_dir=str(tmp_path), loss_type=[loss_type], beta=beta, label_smoothing=smoothing, **COMMON),
        train_dataset=Dataset.from_list([{"prompt": "1+1=", "chosen": "2", "rejected": "3"}] * 4),
        processing_class=byte_tokenizer(),
    )
    batch = trainer.data_collator(
        [
            {"prompt_ids": good.prompt, "chosen_ids": good.response, "rejected_ids": bad.response}
            for good, bad in zip(chosen, rejected, strict=True)
        ]
    )

    rows = [row for pair in zip(chosen, rejected, strict=True) for row in pair]
    inputs = inputs_of(
        response_logprobs(policy, rows, temperature=1.0),
        rows,
        reference=response_logprobs(reference, rows, temperature=1.0),
    )
    loss = PreferenceLoss(kind=loss_type, beta=beta, label_smoothing=smoothing)
    assert_equal_loss_and_gradient(
        policy,
        loss=loss,
        inputs=inputs,
        divisor=len(chosen),
        trl_model=trainer.model,
        trl_loss=trainer.compute_loss(trainer.model.train(), batch),
    )
    accuracy, pairs = loss(inputs).means["accuracy"]
    assert float(accuracy) / float(pairs) == pytest.approx(trainer._metrics["train"]["rewards/accuracies"][0])


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.5, 0.7)])
def test_kto_loss_equals_kto_trainer(policy: nn.Module, tmp_path: Path, weights: tuple[float, float]) -> None:
    rows, labels = random_rows([(5, 7), (3, 2), (6, 6), (2, 4)], seed=12), [True, False, False, True]
    others = [Row(row.prompt, rows[index - 1].response) for index, row in enumerate(rows)]
    reference = nearby(policy, seed=5, scale=0.02)
    trainer = KTOTrainer(
        model=copy.deepcopy(policy),
        ref_model=copy.deepcopy(reference),
        args=KTOConfig(
            output_dir=str(tmp_path),
            beta=0.3,
            desirable_weight=weights[0],
            undesirable_weight=weights[1],
            **{**COMMON, "per_device_train_batch_size": 4, "train_sampling_strategy": "sequential"},
        ),
        train_dataset=Dataset.from_list([{"prompt": "1+1=", "completion": "2", "label": True}] * 4),
        processing_class=byte_tokenizer(),
    )
    batch = trainer.data_collator(
        [
            {
                "prompt_ids": row.prompt,
                "completion_ids": row.response,
                "KL_completion_ids": other.response,
                "label": label,
            }
            for row, other, label in zip(rows, others, labels, strict=True)
        ]
    )
    ours, frozen = (response_logprobs(model, others, temperature=1.0) for model in (policy, reference))
    divergence = sum(float((one - other).detach().sum()) for one, other in zip(ours, frozen, strict=True)) / len(rows)
    assert divergence > 0.001, "a baseline that is cut off at 0 tests nothing"
    inputs = inputs_of(
        response_logprobs(policy, rows, temperature=1.0),
        rows,
        reference=response_logprobs(reference, rows, temperature=1.0),
        targets=[float(label) for label in labels],
        baseline=divergence,
    )
    assert_equal_loss_and_gradient(
        policy,
        loss=KtoLoss(beta=0.3, desirable_weight=weights[0], undesirable_weight=weights[1]),
        inputs=inputs,
        divisor=len(rows),
        trl_model=trainer.model,
        trl_loss=trainer.compute_loss(trainer.model.train(), batch),
    )


def test_reward_model_loss_equals_reward_trainer(model_path: Path, tmp_path: Path) -> None:
    rows = random_rows([(5, 7), (5, 3), (3, 2), (3, 9), (6, 6), (6, 1)], seed=8)
    torch.manual_seed(0)
    scorer = AutoModelForSequenceClassification.from_pretrained(model_path, num_labels=1, pad_token_id=0)
    trainer = RewardTrainer(
        model=copy.deepcopy(scorer),
        args=RewardConfig(output_dir=str(tmp_path), **COMMON),
        train_dataset=Dataset.from_list([{"prompt": "1+1=", "chosen": "2", "rejected": "3"}] * 4),
        processing_class=byte_tokenizer(),
    )
    batch = trainer.data_collator(
        [
            {"chosen_ids": good.prompt + good.response, "rejected_ids": bad.prompt + bad.response}
            for good, bad in zip(rows[0::2], rows[1::2], strict=True)
        ]
    )

    scores = torch.cat([scorer(torch.tensor([row.prompt + row.response]), use_cache=False).logits[0] for row in rows])
    last_tokens = [Row(row.prompt, row.response[-1:]) for row in rows]
    inputs = replace(inputs_of([torch.zeros(1)] * len(rows), last_tokens), values_T=scores)
    assert_equal_loss_and_gradient(
        scorer,
        loss=RewardModelLoss(),
        inputs=inputs,
        divisor=len(rows) // 2,
        trl_model=trainer.model,
        trl_loss=trainer.compute_loss(trainer.model.train(), batch),
    )
    means = RewardModelLoss()(inputs).means
    for name in ("accuracy", "margin"):
        value, count = means[name]
        assert float(value) / float(count) == pytest.approx(trainer._metrics["train"][name][0], rel=1e-4)
