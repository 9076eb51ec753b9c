"""Rows of a batch -> log-probabilities of their scored tokens, in one packed forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlpost.interfaces import LossInputs
from rlpost.learner.packing import MicroBatch
from rlpost.records import FloatArray, TrainBatch


class PackedTokens(NamedTuple):
    """One micro-batch ready for the model. Shapes: T packed tokens, K scored ones."""

    input_ids: Tensor
    """[1, T]"""
    position_ids: Tensor
    """[1, T], from 0 in each row."""
    segment_lengths: list[int]
    predictor_K: Tensor
    """Position in T whose output predicts each scored token."""
    target_K: Tensor
    """Id of each scored token."""


@dataclass(frozen=True, slots=True)
class MicroBatchView:
    """The rows of one micro-batch, cut out of the batch's flat columns."""

    batch: TrainBatch
    rows: MicroBatch
    token_index_T: NDArray[np.int64]
    """Where each packed token lies in the batch."""
    scored_K: NDArray[np.int64]
    """Which packed tokens carry a loss weight."""
    row_T: NDArray[np.int64]

    @classmethod
    def of(cls, batch: TrainBatch, rows: MicroBatch) -> MicroBatchView:
        """Cut these rows out."""
        ends = np.cumsum(batch.row_lengths_B, dtype=np.int64)
        starts = ends - batch.row_lengths_B
        token_index_T = np.concatenate([np.arange(starts[row], ends[row]) for row in rows])
        row_T = np.repeat(np.arange(len(rows)), batch.row_lengths_B[rows])
        scored_K = np.flatnonzero(batch.weights_T[token_index_T])
        return cls(batch=batch, rows=rows, token_index_T=token_index_T, scored_K=scored_K, row_T=row_T)

    def pack(self, device: torch.device) -> PackedTokens:
        """Tensors of the model's input."""
        ids_T = self.batch.token_ids[self.token_index_T].astype(np.int64)
        lengths = [int(self.batch.row_lengths_B[row]) for row in self.rows]
        positions = np.concatenate([np.arange(length) for length in lengths])
        return PackedTokens(
            input_ids=torch.from_numpy(ids_T)[None].to(device),
            position_ids=torch.from_numpy(positions)[None].to(device),
            segment_lengths=lengths,
            predictor_K=torch.from_numpy(self.scored_K - 1).to(device),
            target_K=torch.from_numpy(ids_T[self.scored_K]).to(device),
        )

    def loss_inputs(self, logprobs_K: Tensor) -> LossInputs:
        """The scored tokens with everything a loss may ask of them."""
        index = self.token_index_T[self.scored_K]

        def column(values: FloatArray) -> Tensor:
            return torch.from_numpy(values[index]).to(logprobs_K.device)

        return LossInputs(
            logprobs_T=logprobs_K,
            weights_T=column(self.batch.weights_T),
            advantages_T=column(self.batch.advantages_T),
            behaviour_logprobs_T=column(self.batch.behaviour_logprobs_T),
            reference_logprobs_T=column(self.batch.reference_logprobs_T),
            row_T=torch.from_numpy(self.row_T[self.scored_K]).to(logprobs_K.device),
            row_count=len(self.rows),
        )


def packed_logprobs(model: nn.Module, tokens: PackedTokens, *, temperature: float) -> Tensor:
    """Log-probability of each scored token given its row so far, float32; shape [K].

    Only the outputs that predict a scored token go through the output head. `use_cache=False` matters: with a cache,
    transformers lets packed rows see each other.
    """
    logits_KV: Tensor = model(
        input_ids=tokens.input_ids,
        position_ids=tokens.position_ids,
        segment_lengths=tokens.segment_lengths,
        logits_to_keep=tokens.predictor_K,
        use_cache=False,
    ).logits[0]
    scaled_KV = logits_KV.float() / temperature
    chosen_K = scaled_KV.gather(1, tokens.target_K[:, None]).squeeze(1)
    return chosen_K - scaled_KV.logsumexp(dim=1)


def idle_forward(model: nn.Module, device: torch.device) -> Tensor:
    """A zero that depends on every parameter: takes part in the collectives of ranks that still have rows."""
    token = torch.zeros((1, 1), dtype=torch.long, device=device)
    logits: Tensor = model(input_ids=token, position_ids=token, segment_lengths=[1], use_cache=False).logits
    return logits.float().sum() * 0.0
