"""Our losses and their gradients equal those that TRL's own trainers compute on the same tokens and weights.

TRL's KL penalty is compared without its own extra, the importance ratio in front of it (`use_bias_correction_kl`).
TRL pads rows into rectangles and runs its fused output head; our side runs each row alone and takes a plain
log-softmax. What is left is float32 rounding: the largest relative errors seen are 2e-6 (loss) and 2e-6 (gradient).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny_models import PAD_ID, byte_tokenizer, save_tiny_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from rlpost.advantage import Scheme, advantage_of
from rlpost.interfaces import LossFn, LossInputs
from rlpost.losses.cross_entropy import CrossEntropy
from rlpost.losses.normalisation import Normalisation, denominator, row_weight
from rlpost.losses.policy_gradient import PolicyGradient
from rlpost.losses.preference import PreferenceLoss

TOLERANCE = 1e-5
MAX_TOKENS = 9
COMMON: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "per_device_train_batch_size": 4,
    "max_steps": 1,
}


@dataclass(frozen=True)
class Row:
    prompt: list[int]
    response: list[int]


def random_rows(lengths: Sequence[tuple[int, int]], *, seed: int) -> list[Row]:
    draw = np.random.default_rng(seed)
    return [Row(*(draw.integers(2, 258, size=size).tolist() for size in pair)) for pair in lengths]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("parity") / "model"
    return save_tiny_model(directory, tied=False, seed=0, hidden_size=32, head_dim=16)


@pytest.fixture(scope="module")
def policy(model_path: Path) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(model_path)


def nearby(model: nn.Module, *, seed: int, scale: float) -> nn.Module:
    """The same model with noise on every weight: close enough for ratios near 1, far enough to clip some."""
    moved = copy.deepcopy(model)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise), alpha=scale)
    return moved


def response_logprobs(model: nn.Module, rows: Sequence[Row], *, temperature: float) -> list[Tensor]:
    """Log-probability of each response token, each row run alone and without padding."""
    result: list[Tensor] = []
    for row in rows:
        logits = model(torch.tensor([row.prompt + row.response]), use_cache=False).logits[0]
        logprobs = (logits / temperature).log_softmax(-1)[len(row.prompt) - 1 : -1]
        result.append(logprobs.gather(1, torch.tensor(row.response)[:, None])[:, 0])
    return result


def per_token(values: Sequence[float], rows: Sequence[Row]) -> Tensor:
    return torch.cat([torch.full((len(row.response),), value) for value, row in zip(values, rows, strict=True)])


def inputs_of(
    logprobs: Sequence[Tensor],
    rows: Sequence[Row],
    *,
    weights: Sequence[float] | None = None,
    advantages: Sequence[float] | None = None,
    behaviour: Sequence[Tensor] | None = None,
    reference: Sequence[Tensor] | None = None,
) -> LossInputs:
    zeros = [torch.zeros(len(row.response)) for row in rows]
    return LossInputs(
        logprobs_T=torch.cat(list(logprobs)),
        weights_T=per_token(weights or [1.0] * len(rows), rows),
        advantages_T=per_token(advantages or [0.0] * len(rows), rows),
        behaviour_logprobs_T=torch.cat(list(behaviour or zeros)).detach(),
        reference_logprobs_T=torch.cat(list(reference or zeros)).detach(),
        row_T=torch.arange(len(rows)).repeat_interleave(torch.tensor([len(row.response) for row in rows])),
        row_count=len(rows),
    )


def assert_equal_loss_and_gradient(
    ours: nn.Module, *, loss: LossFn, inputs: LossInputs, divisor: float, trl_model: nn.Module, trl_loss: Tensor
) -> None:
    our_loss = loss(inputs).total / divisor
    our_names, our_parameters = zip(*ours.named_parameters(), strict=True)
    trl_names, trl_parameters = zip(*trl_model.named_parameters(), strict=True)
    assert our_names == trl_names
    our_gradient = torch.cat([part.flatten() for part in torch.autograd.grad(our_loss, our_parameters)])
    trl_gradient = torch.cat([part.flatten() for part in torch.autograd.grad(trl_loss, trl_parameters)])

    assert trl_gradient.norm() > 1e-3, "a gradient of nothing proves nothing"
    loss_error = abs(our_loss.item() - trl_loss.item()) / abs(trl_loss.item())
    gradient_error = ((our_gradient - trl_gradient).norm() / trl_gradient.norm()).item()
    print(f"relative error: loss {loss_error:.1e}, gradient {gradient_error:.1e}")
    assert loss_error < TOLERANCE
    assert gradient_error < TOLERANCE


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


@pytest.mark.parametrize(("loss_type", "beta"), [("sigmoid", 0.1), ("sigmoid_norm", 5.0)])
def test_preference_loss_equals_dpo_trainer(policy: nn.Module, tmp_path: Path, loss_type: str, beta: float) -> None:
    chosen = random_rows([(5, 7), (3, 2), (6, 6)], seed=2)
    rejected = [
        Row(row.prompt, other.response)
        for row, other in zip(chosen, random_rows([(1, 4), (1, 9), (1, 1)], seed=3), strict=True)
    ]
    reference = nearby(policy, seed=4, scale=0.02)
    trainer = DPOTrainer(
        model=copy.deepcopy(policy),
        ref_model=copy.deepcopy(reference),
        args=DPOConfig(output_dir=str(tmp_path), loss_type=[loss_type], beta=beta, **COMMON),
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
    loss = PreferenceLoss(beta=beta, length_normalised=loss_type == "sigmoid_norm")
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


def grpo_trainer(model_path: Path, output: Path, **settings: Any) -> GRPOTrainer:
    """TRL's GRPO trainer; it wants a path, because with a KL penalty it loads the reference itself."""
    trainer = GRPOTrainer(
        model=str(model_path),
        args=GRPOConfig(
            output_dir=str(output),
            num_generations=4,
            max_completion_length=MAX_TOKENS,
            steps_per_generation=1,
            use_bias_correction_kl=False,
            **COMMON,
            **settings,
        ),
        reward_funcs=lambda completions, **columns: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "1+1="}] * 4),
        processing_class=byte_tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1  # the training loop, which does not run here, would set it
    trainer.model.train()
    return trainer


def padded(parts: Sequence[Sequence[int] | Tensor], *, side: str, fill: float) -> Tensor:
    tensors = [torch.as_tensor(part) for part in parts]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill, padding_side=side)


@pytest.mark.parametrize("kl_coefficient", [0.0, 0.3])
@pytest.mark.parametrize(
    ("loss_type", "normalisation"), [("dapo", "token"), ("grpo", "sequence"), ("dr_grpo", "constant")]
)
def test_policy_gradient_equals_grpo_trainer(
    model_path: Path,
    policy: nn.Module,
    tmp_path: Path,
    loss_type: str,
    normalisation: Normalisation,
    kl_coefficient: float,
) -> None:
    rows = random_rows([(5, 7), (3, 2), (6, 9), (2, 4)], seed=5)
    advantages = [1.3, -0.4, -1.1, 0.7]
    temperature = 0.7
    current = response_logprobs(policy, rows, temperature=temperature)
    with torch.no_grad():
        behaviour = response_logprobs(nearby(policy, seed=6, scale=0.02), rows, temperature=temperature)
        reference = response_logprobs(nearby(policy, seed=7, scale=0.02), rows, temperature=temperature)

    trainer = grpo_trainer(
        model_path,
        tmp_path,
        loss_type=loss_type,
        beta=kl_coefficient,
        epsilon=0.2,
        epsilon_high=0.3,
        temperature=temperature,
    )
    batch = {
        "prompt_ids": padded([row.prompt for row in rows], side="left", fill=PAD_ID),
        "prompt_mask": padded([[1] * len(row.prompt) for row in rows], side="left", fill=0),
        "completion_ids": padded([row.response for row in rows], side="right", fill=PAD_ID),
        "completion_mask": padded([[1] * len(row.response) for row in rows], side="right", fill=0),
        "old_per_token_logps": padded(behaviour, side="right", fill=0.0),
        "ref_per_token_logps": padded(reference, side="right", fill=0.0),
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": torch.tensor(sum(len(row.response) for row in rows)),
    }

    inputs = inputs_of(
        current,
        rows,
        weights=[row_weight(normalisation, len(row.response)) for row in rows],
        advantages=advantages,
        behaviour=behaviour,
        reference=reference,
    )
    loss = PolicyGradient(clip_low=0.2, clip_high=0.3, kl_coefficient=kl_coefficient)
    divisor = denominator(
        normalisation,
        token_count=sum(len(row.response) for row in rows),
        row_count=len(rows),
        max_tokens=MAX_TOKENS,
    )
    assert_equal_loss_and_gradient(
        policy,
        loss=loss,
        inputs=inputs,
        divisor=divisor,
        trl_model=trainer.model,
        trl_loss=trainer.compute_loss(trainer.model.train(), batch),
    )
    clipped, tokens = loss(inputs).means["clip_fraction"]
    assert 0 < float(clipped) < float(tokens), "the batch must hold clipped and unclipped tokens"
    assert float(clipped) / float(tokens) == pytest.approx(
        trainer._metrics["train"]["clip_ratio/region_mean"][0], abs=1e-6
    )


@pytest.mark.parametrize(("scheme", "scale_rewards"), [("grpo", "group"), ("dr_grpo", "none")])
def test_advantages_equal_grpo_trainer(model_path: Path, tmp_path: Path, scheme: Scheme, scale_rewards: str) -> None:
    scores = [0.0, 1.0, 1.0, 0.25]
    trainer = grpo_trainer(model_path, tmp_path, scale_rewards=scale_rewards)
    trainer.reward_funcs = [lambda completions, **columns: scores]
    batch = trainer._generate_and_score_completions([{"prompt": "1+1="}] * 4)
    ours = advantage_of(scheme)(np.array(scores))
    np.testing.assert_allclose(ours, batch["advantages"].numpy(), rtol=1e-6)
