"""Computes log-probabilities of chosen tokens from hidden states, without holding all logits in memory at once.

With vocabulary V and K tokens, the logits are K x V numbers, for large vocabularies more than all other activations
together. Here they exist only for some tokens at a time, in the forward pass and again in the backward pass, which
recomputes them. If they are few, they are kept instead, which is faster.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlpost.recipe.memory import MOST_LOGITS


def chosen_logprobs(hidden_KH: Tensor, weight_VH: Tensor, target_K: Tensor, *, temperature: float) -> Tensor:
    """Return the log-probability of each target under `softmax(hidden @ weight.T / temperature)`; float32, shape
    [K].
    """
    # torch does not type the `apply` of a Function.
    return _ChosenLogprobs.apply(hidden_KH, weight_VH, target_K, temperature)  # pyright: ignore[reportReturnType] apply is typed as any object


class _ChosenLogprobs(torch.autograd.Function):
    """The derivative, for p the softmax: d logprob_k / d logits_kv = (1[v = target_k] - p_kv) / temperature."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        hidden_KH: Tensor
        weight_VH: Tensor
        hidden_KH, weight_VH, target_K, temperature = arguments
        chunks = _chunks(len(hidden_KH), weight_VH.shape[0])
        kept_KV: Tensor | None = None
        logsumexps: list[Tensor] = []
        chosen: list[Tensor] = []
        for chunk in chunks:
            logits_kV = hidden_KH[chunk] @ weight_VH.T
            scaled_kV = _scaled(logits_kV, temperature)
            logsumexps.append(scaled_kV.logsumexp(dim=1))
            chosen.append(scaled_kV.gather(1, target_K[chunk, None]).squeeze(1))
            kept_KV = logits_kV if len(chunks) == 1 else None
        logsumexp_K = torch.cat(logsumexps)
        ctx.save_for_backward(hidden_KH, weight_VH, target_K, logsumexp_K, kept_KV)
        ctx.temperature = temperature
        return torch.cat(chosen) - logsumexp_K

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_KH, weight_VH, target_K, logsumexp_K, kept_KV = ctx.saved_tensors
        slope_K = grad_outputs[0] / ctx.temperature
        wants_weight = ctx.needs_input_grad[1]
        # Adding up many chunks in bfloat16 would round the sum many times.
        weight_gradient = torch.zeros_like(weight_VH, dtype=torch.float32) if wants_weight and kept_KV is None else None
        hidden_gradient = torch.empty_like(hidden_KH)
        for chunk in _chunks(len(hidden_KH), weight_VH.shape[0]):
            logits_kV = hidden_KH[chunk] @ weight_VH.T if kept_KV is None else kept_KV
            gradient_kV = (_scaled(logits_kV, ctx.temperature) - logsumexp_K[chunk, None]).exp_()
            del logits_kV
            gradient_kV.mul_(-slope_K[chunk, None])
            gradient_kV.scatter_add_(1, target_K[chunk, None], slope_K[chunk, None])
            rounded_kV = gradient_kV.to(hidden_KH.dtype)
            hidden_gradient[chunk] = rounded_kV @ weight_VH
            if weight_gradient is not None:
                weight_gradient += rounded_kV.T @ hidden_KH[chunk]
            elif wants_weight:
                weight_gradient = rounded_kV.T @ hidden_KH
        return hidden_gradient, None if weight_gradient is None else weight_gradient.to(weight_VH.dtype), None, None


def _chunks(tokens: int, vocabulary: int) -> list[slice]:
    size = max(1, MOST_LOGITS // vocabulary)
    return [slice(start, start + size) for start in range(0, max(1, tokens), size)]


def _scaled(logits_KV: Tensor, temperature: float) -> Tensor:
    return logits_KV.float() if temperature == 1 else logits_KV.float() / temperature
