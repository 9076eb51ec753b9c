"""Computes log-probabilities or values of the scored tokens of a batch's rows, in one packed forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import PreTrainedModel

from rlpost.interfaces import LossInputs
from rlpost.learner.attention import Segments
from rlpost.learner.output_head import chosen_logprobs
from rlpost.records import FloatArray
from rlpost.train_records import TrainBatch

_LOGPROBS_METHOD = "token_logprobs"
_VALUES_METHOD = "token_values"


class PackedTokens(NamedTuple):
    """The model's input for one micro-batch. Shapes: T packed tokens, K scored tokens."""

    input_ids: Tensor
    """Token ids, shape [1, T]."""
    position_ids: Tensor
    """Positions within each row from 0, shape [1, T]."""
    segments: Segments
    scored_K: Tensor
    """Position in T of each scored token; the token before it predicts it."""
    target_K: Tensor
    """Id of each scored token."""


@dataclass(frozen=True, slots=True)
class MicroBatchView:
    """The rows of one micro-batch, cut out of the batch's flat columns."""

    batch: TrainBatch
    rows: Sequence[int]
    token_index_T: NDArray[np.int64]
    """Position in the batch of each packed token."""
    scored_K: NDArray[np.int64]
    """Positions of the packed tokens that carry a loss weight."""
    row_T: NDArray[np.int64]

    @classmethod
    def of(cls, batch: TrainBatch, rows: Sequence[int]) -> MicroBatchView:
        """Cut out these rows."""
        ends = np.cumsum(batch.row_lengths_B, dtype=np.int64)
        starts = ends - batch.row_lengths_B
        token_index_T = np.concatenate([np.arange(starts[row], ends[row]) for row in rows])
        row_T = np.repeat(np.arange(len(rows)), batch.row_lengths_B[list(rows)])
        scored_K = np.flatnonzero(batch.weights_T[token_index_T])
        return cls(batch=batch, rows=rows, token_index_T=token_index_T, scored_K=scored_K, row_T=row_T)

    def pack(self, device: torch.device) -> PackedTokens:
        """Make the tensors of the model's input."""
        ids_T = self.batch.token_ids[self.token_index_T].astype(np.int64)
        lengths = [int(self.batch.row_lengths_B[row]) for row in self.rows]
        positions = np.concatenate([np.arange(length) for length in lengths])
        return PackedTokens(
            input_ids=torch.from_numpy(ids_T)[None].to(device),
            position_ids=torch.from_numpy(positions)[None].to(device),
            segments=Segments.of(lengths, device),
            scored_K=torch.from_numpy(self.scored_K).to(device),
            target_K=torch.from_numpy(ids_T[self.scored_K]).to(device),
        )

    def loss_inputs(
        self, logprobs_K: Tensor, values_K: Tensor | None, *, component: int, columns: Iterable[str]
    ) -> LossInputs | None:
        """Return the scored tokens of one component with the columns that the loss needs; None if it has none here.

        If the batch has a single component, the result is never None, so that its loss takes part even without a scored
        token.
        """
        index_K, row_K = self.token_index_T[self.scored_K], self.row_T[self.scored_K]
        if self.batch.component_T is not None:
            mine = np.flatnonzero(self.batch.component_T[index_K] == component)
            if not len(mine):
                return None
            index_K, row_K = index_K[mine], row_K[mine]
            chosen = torch.from_numpy(mine).to(logprobs_K.device)
            logprobs_K = logprobs_K[chosen]
            values_K = None if values_K is None else values_K[chosen]

        def column(values_T: FloatArray) -> Tensor:
            return torch.from_numpy(values_T[index_K]).to(logprobs_K.device)

        return LossInputs(
            logprobs_T=logprobs_K,
            values_T=values_K,
            weights_T=column(self.batch.weights_T),
            columns={name: column(self.batch.columns[name]) for name in columns if name in self.batch.columns},
            row_T=torch.from_numpy(row_K).to(logprobs_K.device),
            row_count=len(self.rows),
            component=self.batch.components[component].name,
        )


def register_forward_methods(root: nn.Module, model: PreTrainedModel, device: torch.device) -> None:
    """Make `packed_logprobs` or `packed_values` work on a sharded model; `root` is the model, or peft's wrapper of it.

    FSDP gathers weights in the hooks of a forward pass, so every method that reads the output head outside the model's
    own `forward` has to be registered with FSDP.
    """
    if hasattr(model, "score"):
        _register(root, _VALUES_METHOD, partial(_values, model))
    elif _has_plain_head(model, root, device):
        _register(root, _LOGPROBS_METHOD, partial(_logprobs, model))


def packed_logprobs(model: nn.Module, tokens: PackedTokens, *, temperature: float) -> Tensor:
    """Return the log-probability of each scored token given its row so far, float32, shape [K].

    Only the hidden states that predict a scored token go through the output head.
    """
    if hasattr(model, _LOGPROBS_METHOD):
        return cast(Any, model).token_logprobs(tokens, temperature)
    logits_KV: Tensor = model(**_model_inputs(tokens), logits_to_keep=tokens.scored_K - 1).logits[0]
    scaled_KV = logits_KV.float() / temperature
    chosen_K = scaled_KV.gather(1, tokens.target_K[:, None]).squeeze(1)
    return chosen_K - scaled_KV.logsumexp(dim=1)


def packed_values(model: nn.Module, tokens: PackedTokens, *, before: bool) -> Tensor:
    """Return the score head's output at each scored token, or at the token `before` it, float32, shape [K]."""
    return cast(Any, model).token_values(tokens, before)


def idle_forward(model: nn.Module, device: torch.device) -> Tensor:
    """Return a zero that depends on every parameter, so that this rank joins the collectives of ranks that still have
    rows.
    """
    token = torch.zeros((1, 1), dtype=torch.long, device=device)
    segments = Segments.of([1], device)
    logits: Tensor = model(input_ids=token, position_ids=token, segments=segments, use_cache=False).logits
    return logits.float().sum() * 0.0


def _register(root: nn.Module, name: str, function: Callable[..., Tensor]) -> None:
    setattr(root, name, function)
    register_fsdp_forward_method(root, name)


def _logprobs(model: Any, tokens: PackedTokens, temperature: float) -> Tensor:
    hidden_TH: Tensor = model.get_decoder()(**_model_inputs(tokens)).last_hidden_state[0]
    weight_VH: Tensor = model.get_output_embeddings().weight
    return chosen_logprobs(hidden_TH[tokens.scored_K - 1], weight_VH, tokens.target_K, temperature=temperature)


def _values(model: Any, tokens: PackedTokens, before: bool) -> Tensor:
    hidden_TH: Tensor = model.base_model(**_model_inputs(tokens)).last_hidden_state[0]
    hidden_KH = hidden_TH[tokens.scored_K - 1 if before else tokens.scored_K]
    # A single number per token replaces V logits; it is computed in float32, because bfloat16 has too few distinct
    # values.
    weight_H: Tensor = model.score.weight[0]
    return hidden_KH.float() @ weight_H.float()


def _model_inputs(tokens: PackedTokens) -> dict[str, Any]:
    return {
        "input_ids": tokens.input_ids,
        "position_ids": tokens.position_ids,
        "segments": tokens.segments,
        # With a cache, transformers lets packed rows attend to each other.
        "use_cache": False,
    }


def _has_plain_head(model: Any, root: nn.Module, device: torch.device) -> bool:
    """Whether the logits are exactly the decoder's output times the head's matrix.

    Some models scale or cap logits, or scale hidden states, in ways that only their own code knows. The test therefore
    runs one token through the model, with known numbers in place of the head's output. A collective.
    """
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or cast(Any, head.bias) is not None:
        return False
    # A cap or a factor changes numbers of this size visibly, whatever the weights are.
    pattern = torch.linspace(-99.0, 99.0, head.out_features, device=device)[None, None]
    seen: dict[str, Tensor] = {}

    def keep_decoder(_: nn.Module, __: Any, output: Any) -> None:
        seen["decoder"] = output.last_hidden_state

    def replace_logits(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        seen["head"] = inputs[0]
        return pattern.to(output.dtype)

    hooks = [
        model.get_decoder().register_forward_hook(keep_decoder),
        head.register_forward_hook(replace_logits),
    ]
    token = torch.zeros((1, 1), dtype=torch.long, device=device)
    with torch.no_grad():
        logits: Tensor = root(
            input_ids=token, position_ids=token, segments=Segments.of([1], device), use_cache=False
        ).logits
    for hook in hooks:
        hook.remove()
    return torch.equal(seen["head"], seen["decoder"]) and torch.equal(logits, pattern.to(logits.dtype))
