"""Estimates the peak memory of one learner rank, as a sum of named terms; no torch.

Every term says which memory is allocated. The peak is that of a step with several micro-batches, when the gradient of
earlier ones already exists. It occurs at one of two moments: at the loss of a micro-batch, with all activations and its
logits, or at the end of its backward pass, when the gradient of embedding and output head is summed over ranks.

`benchmarks/learner_memory.py` compares the total with the measured memory of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MASTER = 4
"""Bytes per weight, gradient and optimizer moment, which are all float32."""
_FLOAT32 = 4
MOST_LOGITS = 2**25
"""Most logits that the learner holds at once: 128 MiB in float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The sizes of a decoder-only model with gated MLPs (Llama, Qwen) that determine its memory."""

    layers: int
    hidden: int
    intermediate: int
    query_width: int
    """Number of query heads times their width."""
    key_value_width: int
    """Number of key-value heads times their width."""
    vocabulary: int
    tied: bool
    """Whether the output head is the embedding matrix."""
    query_key_norm: bool
    """Whether queries and keys are normalised (Qwen3)."""

    @property
    def layer_parameters(self) -> int:
        """Number of parameters of one decoder layer, without norms."""
        attention = self.hidden * (2 * self.query_width + 2 * self.key_value_width)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def embedding_parameters(self) -> int:
        """Number of parameters of one vocabulary matrix."""
        return self.vocabulary * self.hidden

    @property
    def outer_parameters(self) -> int:
        """Number of parameters outside all layers."""
        return self.embedding_parameters * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole model, without norms, which are a ten-thousandth of it."""
        return self.layers * self.layer_parameters + self.outer_parameters


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerMemory:
    """The memory of one rank, in bytes."""

    weights: int
    """Float32 master weights: 4 bytes per parameter, divided over ranks."""
    gradients: int
    """Float32 gradients of trainable parameters, divided over ranks."""
    optimizer: int
    """The optimizer's numbers for trainable parameters in float32, two for AdamW, divided over ranks."""
    reference: int
    """The weights of the reference model."""
    critic: int
    """Weights, gradients and moments of a second body, and its gathered weights."""
    gathered: int
    """Weights that FSDP has gathered in the compute dtype: embedding and head for the whole micro-batch, and two
    layers."""
    activations: int
    """Activations that the backward pass needs, for all tokens of a micro-batch."""
    logits: int
    """Logits of the scored tokens, and the intermediate results up to their log-probabilities."""
    reduction: int
    """Gradient of embedding and head at the end of the backward pass, before and after its sum over ranks."""
    checkpoint: int
    """Copy of the trained weights and their moments while it is written to disk; it is in the machine's memory, not the
    device's, and not part of the total."""

    @property
    def kept(self) -> int:
        """Memory that is held throughout the step."""
        return self.weights + self.gradients + self.optimizer + self.reference + self.critic + self.gathered

    @property
    def total(self) -> int:
        """Memory at the peak."""
        return self.kept + max(self.activations + self.logits, self.reduction)


def learner_memory(
    shape: ModelShape,
    *,
    ranks: int,
    compute_dtype: Literal["float32", "bfloat16"],
    device: Literal["cpu", "cuda"],
    micro_batch_tokens: int,
    most_logits: int,
    activation_checkpointing: bool,
    reference: bool,
    critic: bool,
    adapter_parameters: int | None,
    optimizer_numbers: int,
) -> LearnerMemory:
    """Estimate the peak memory of one rank with every token scored; a lower bound for models with parts outside
    `shape`.

    `adapter_parameters` is the number of weights of an adapter; None if the whole model is trained.
    `optimizer_numbers` is the number of float32 values that the optimizer keeps for each trained parameter.
    """
    width = 4 if compute_dtype == "float32" else 2
    trained = shape.parameters if adapter_parameters is None else adapter_parameters
    held = shape.parameters + (adapter_parameters or 0)
    gathered = width * (shape.outer_parameters + 2 * shape.layer_parameters)
    body = shape.parameters - (0 if shape.tied else shape.embedding_parameters)
    critic_gathered = width * (shape.embedding_parameters + 2 * shape.layer_parameters)
    activations = activation_bytes(
        shape,
        tokens=micro_batch_tokens,
        compute_dtype=compute_dtype,
        device=device,
        activation_checkpointing=activation_checkpointing,
    )
    return LearnerMemory(
        weights=_MASTER * held // ranks,
        gradients=_MASTER * trained // ranks,
        optimizer=optimizer_numbers * _MASTER * trained // ranks,
        reference=_MASTER * shape.parameters // ranks if reference and adapter_parameters is None else 0,
        critic=4 * _MASTER * body // ranks + critic_gathered if critic else 0,
        gathered=gathered,
        activations=(2 if critic else 1) * activations,
        logits=_logit_bytes(shape, tokens=micro_batch_tokens, width=width, most_logits=most_logits),
        reduction=_reduction_bytes(shape, width=width, ranks=ranks) if adapter_parameters is None else 0,
        checkpoint=(1 + optimizer_numbers) * _MASTER * (trained + (body if critic else 0)) // ranks,
    )


def activation_bytes(
    shape: ModelShape,
    *,
    tokens: int,
    compute_dtype: Literal["float32", "bfloat16"],
    device: Literal["cpu", "cuda"],
    activation_checkpointing: bool,
) -> int:
    """Estimate what autograd keeps for one micro-batch, up to the hidden states that enter the output head."""
    width = 4 if compute_dtype == "float32" else 2
    layer = tokens * _layer_bytes_per_token(shape, width=width, device=device)
    last_norm = tokens * _norm_bytes(shape.hidden, width)
    # The normalised hidden states, kept until logits are computed, and those among them that predict a scored token.
    head_input = 2 * tokens * shape.hidden * width
    if activation_checkpointing:
        layer_inputs = shape.layers * tokens * shape.hidden * width
        return layer_inputs + layer + last_norm + head_input
    return shape.layers * layer + last_norm + head_input


def _norm_bytes(size: int, width: int) -> int:
    """Memory of an RMSNorm: its input in float32, and the normalised input before the gain."""
    return _FLOAT32 * size + width * size


def _layer_bytes_per_token(shape: ModelShape, *, width: int, device: str) -> int:
    queries, keys = shape.query_width, shape.key_value_width
    norms = 2 * (_norm_bytes(shape.hidden, width) + width * shape.hidden)  # The next layer keeps a norm's output.
    if shape.query_key_norm:
        norms += _norm_bytes(queries, width) + _norm_bytes(keys, width)
    # On CPU, rows of up to a few hundred tokens attend in float32 (learner/attention.py); in bfloat16 they keep their
    # softmax instead (learner/short_attention.py), which is as much for rows of 512 tokens and less for shorter ones.
    attention_width = _FLOAT32 if device == "cpu" else width
    attention = attention_width * (2 * queries + 2 * keys)  # Queries, keys, values and the output.
    projected = width * queries if width < attention_width else 0  # The output again, rounded.
    gated = 4 * width * shape.intermediate  # Gate, its activation, the other branch, and their product.
    return norms + attention + projected + gated


def _logit_bytes(shape: ModelShape, *, tokens: int, width: int, most_logits: int) -> int:
    """Memory of the logits, their float32 copy if they are narrower, and a float32 temporary."""
    count = min(tokens * shape.vocabulary, most_logits)
    copies = width + _FLOAT32 + (_FLOAT32 if width < _FLOAT32 else 0)
    # With several chunks, the head's gradient is summed in float32.
    chunked = _FLOAT32 * shape.embedding_parameters if tokens * shape.vocabulary > most_logits else 0
    return count * copies + chunked


def _reduction_bytes(shape: ModelShape, *, width: int, ranks: int) -> int:
    """Memory of the outer matrices' gradients in the compute dtype, their float32 copy, and this rank's share of the
    sum.

    A tied matrix has two gradients, of embedding and of head, until they are added.
    """
    outer = _FLOAT32 * shape.outer_parameters
    return 2 * width * shape.embedding_parameters + outer + outer // ranks
