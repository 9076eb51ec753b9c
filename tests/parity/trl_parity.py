"""What the comparisons with TRL share: rows, models near the policy, our inputs, trainers fed with fixed rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tiny_models import byte_tokenizer
from torch import Tensor, nn
from trl import GRPOConfig, GRPOTrainer, RLOOTrainer

from rlpost.interfaces import LossFn, LossInputs

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
    proximal: Sequence[Tensor] | None = None,
    targets: Sequence[float] | None = None,
    baseline: float = 0.0,
) -> LossInputs:
    zeros = [torch.zeros(len(row.response)) for row in rows]
    return LossInputs(
        logprobs_T=torch.cat(list(logprobs)),
        weights_T=per_token(weights or [1.0] * len(rows), rows),
        columns={
            "advantages_T": per_token(advantages or [0.0] * len(rows), rows),
            "behaviour_logprobs_T": torch.cat(list(behaviour or zeros)).detach(),
            "reference_logprobs_T": torch.cat(list(reference or zeros)).detach(),
            "proximal_logprobs_T": torch.cat(list(proximal or zeros)).detach(),
            "targets_T": per_token(targets or [0.0] * len(rows), rows),
            "baseline_T": per_token([baseline] * len(rows), rows),
        },
        values_T=None,
        row_T=torch.arange(len(rows)).repeat_interleave(torch.tensor([len(row.response) for row in rows])),
        row_count=len(rows),
        component="rl",
    )


def assert_equal_loss_and_gradient(
    ours: nn.Module, *, loss: LossFn, inputs: LossInputs, divisor: float, trl_model: nn.Module, trl_loss: Tensor
) -> None:
    our_loss = loss(inputs).total / divisor
    assert_equal_gradient(ours, loss=our_loss, trl_model=trl_model, trl_loss=trl_loss)
    error = abs(our_loss.item() - trl_loss.item()) / abs(trl_loss.item())
    print(f"relative error of the loss {error:.1e}")
    assert error < TOLERANCE


def assert_equal_gradient(ours: nn.Module, *, loss: Tensor, trl_model: nn.Module, trl_loss: Tensor) -> None:
    our_names, our_parameters = zip(*ours.named_parameters(), strict=True)
    trl_names, trl_parameters = zip(*trl_model.named_parameters(), strict=True)
    assert our_names == trl_names
    our_gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, our_parameters)])
    trl_gradient = torch.cat([part.flatten() for part in torch.autograd.grad(trl_loss, trl_parameters)])

    assert trl_gradient.norm() > 1e-3, "a gradient of nothing proves nothing"
    error = ((our_gradient - trl_gradient).norm() / trl_gradient.norm()).item()
    print(f"relative error of the gradient {error:.1e}")
    assert error < TOLERANCE


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


def feed(trainer: Any, rows: Sequence[Row], *, rewards: Sequence[Sequence[float]], sampled: Any = None) -> Any:
    """What TRL makes of these rows, with its own code: log-probabilities, ratios, advantages.

    `rewards` has one row a response and one column a reward function; `sampled` are the log-probabilities that vLLM
    would have reported.
    """
    prompts, responses = [row.prompt for row in rows], [row.response for row in rows]
    logprobs = None if sampled is None else [part.tolist() for part in sampled]
    texts = ["" for _ in rows]
    for_rloo = (prompts, responses, texts)
    for_grpo = (prompts, responses, None, texts, logprobs, {}, None, None)
    trainer._generate = lambda _: for_rloo if isinstance(trainer, RLOOTrainer) else for_grpo
    trainer._calculate_rewards = lambda *_: torch.tensor(rewards)
    return trainer._generate_and_score_completions([{"prompt": "1+1="}] * len(rows))
