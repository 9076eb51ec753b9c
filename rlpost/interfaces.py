"""Every seam of the system as a Protocol.

The RL loop that joins them, in ten lines:

    for step in range(start, stage.steps):
        groups = buffer.take(stage.prompts_per_step)      # Collector: Generator -> Scorer -> buffer, never too old
        canary.check(groups, learner)                     # Generator and Learner agree on log-probabilities
        batch = pack(groups, advantage)                   # AdvantageFn: scores -> per-token credit
        report = learner.step(batch, loss)                # Learner: LossFn -> gradient -> optimizer
        sync = weights.publish(learner, version=step + 1) # WeightStore: learner -> generators, acknowledged
        buffer.advance(version=step + 1)                  # the new version opens room for new prompts
        tracker.log(step, report, sync, groups)           # Tracker

Every other stage is the same loop with rows from a data set in place of the first three lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rlpost.records import (
    FloatArray,
    GenerationRequest,
    PublishReport,
    Rollout,
    Sample,
    StepReport,
    TrainBatch,
    Verdict,
    WeightManifest,
    WeightReceipt,
)

if TYPE_CHECKING:
    from torch import Tensor


class Generator(Protocol):
    """Samples responses. One vLLM engine, or a pool of them that looks like one."""

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Start these requests; returns at once."""
        ...

    def poll(self, timeout_s: float) -> list[Rollout]:
        """Rollouts finished since the last call, in no particular order.

        Waits up to `timeout_s` for the first one; an empty list means that none finished in that time.
        """
        ...

    def pull_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """Load the published weights; one receipt an engine. Requests in flight go on with the new weights.

        Raises `WeightSyncError` if what was read is not what the manifest says.
        """
        ...


class Scorer(Protocol):
    """Judges samples by the verifier that the recipe routes each to."""

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """One verdict a sample, in the same order. Never raises for what a sample contains."""
        ...


class AdvantageFn(Protocol):
    """Scores of one group -> advantage of each sample. Pure."""

    def __call__(self, scores_G: NDArray[np.float64], /) -> NDArray[np.float64]:
        """`scores_G` holds the valid samples of one group only; the result has its shape."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInputs:
    """The tokens of one micro-batch that carry a loss weight, end to end; what a loss sees.

    All tensors have shape [T], float32, on the learner's device; only `logprobs_T` carries a gradient.
    """

    logprobs_T: Tensor
    """Of each token under the current policy, after the batch's temperature."""
    weights_T: Tensor
    advantages_T: Tensor
    behaviour_logprobs_T: Tensor
    """Under the policy that sampled the token, as the generator reported it."""
    reference_logprobs_T: Tensor
    """Under the frozen reference model."""
    row_T: Tensor
    """Index of the row within the micro-batch, int64; rows of one unit are neighbours."""
    row_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSums:
    """What a loss returns for one micro-batch. Sums, so that they add up over micro-batches and ranks."""

    total: Tensor
    """Scalar to differentiate; the learner divides it by the batch's denominator."""
    means: Mapping[str, tuple[Tensor, Tensor | float]]
    """Metric name -> (sum, count), detached; reported as sum of sums over sum of counts."""
    maxima: Mapping[str, Tensor]
    """Metric name -> value, detached; reported as the maximum."""


class LossFn(Protocol):
    """A pure function of tensors, and a frozen, picklable dataclass of its coefficients."""

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """The summed loss of one micro-batch."""
        ...


class Learner(Protocol):
    """Holds the policy and its optimizer. Blind to the algorithm: a batch arrives with weights and credit."""

    def step(self, batch: TrainBatch, loss: LossFn) -> StepReport:
        """One optimizer step on the whole batch."""
        ...

    def logprobs(self, batch: TrainBatch, *, reference: bool) -> FloatArray:
        """Log-probability of every token with a loss weight other than 0, zero elsewhere; shape of `batch.token_ids`.

        `reference` asks the frozen reference model in place of the policy.
        """
        ...

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        """Write the current policy weights, under the names of the HF model, tied ones too, to a safetensors file."""
        ...

    def save_checkpoint(self, directory: Path) -> None:
        """Write policy, optimizer and step into `directory`, which must not exist; publishing it is the caller's."""
        ...

    def load_checkpoint(self, directory: Path) -> None:
        """Continue from what `save_checkpoint` wrote, on any number of ranks."""
        ...

    def export(self, directory: Path) -> None:
        """Write a Hugging Face model directory (config and safetensors) into `directory`."""
        ...


class WeightStore(Protocol):
    """Carries weights from the learner to the generators, by version."""

    def publish(self, learner: Learner, *, version: int) -> PublishReport:
        """Write this version, let every generator pull it, and check each receipt's version and checksum."""
        ...


class Tracker(Protocol):
    """Records what a stage did."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One record for one step; a later record for the same step replaces it."""
        ...
