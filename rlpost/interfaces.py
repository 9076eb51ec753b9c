"""Every seam of the system as a Protocol.

The RL loop that joins them, in ten lines:

    for step in range(start, stage.steps):
        groups = buffer.take(version=step)                # Collector: Generator -> Scorer -> buffer, never too old
        canary.check(groups, learner)                     # Generator and Learner agree on log-probabilities
        batch = pack(groups, advantage)                   # AdvantageFn: scores -> per-token credit
        report = learner.step(batch, loss)                # Learner: LossFn -> gradient -> optimizer
        sync = weights.publish(learner, version=step + 1) # WeightStore: learner -> generators, acknowledged
        sync.add_done_callback(buffer.advance)            # the new version opens room for new prompts
        tracker.log(step, report, sync, groups)           # Tracker

Every other stage is the same loop with rows from a data set in place of the first three lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rlpost.engine_records import EngineLoad, PublishReport, WeightManifest, WeightReceipt
from rlpost.errors import DamagedWeightsError, LearnerLostError
from rlpost.records import FloatArray, GenerationRequest, Rollout, Sample, StepReport, TrainBatch, Verdict
from rlpost.settings import LearnerSettings

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

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        """Load the published weights; one receipt an engine. Requests in flight go on with the new weights.

        Their keys and values are computed again with the new weights, or kept as they are (`keep_kv_cache`). May be
        called from another thread than `submit` and `poll`.

        Raises `WeightSyncError` if what was read is not what the manifest says.
        """
        ...

    def abandon(self) -> None:
        """Forget every request; none of them is answered after this returns. Not while another thread polls."""
        ...

    def loads(self) -> list[EngineLoad]:
        """What each engine said about itself when it was last heard; no waiting."""
        ...


class Scorer(Protocol):
    """Judges samples by the verifiers that the recipe routes each to."""

    def by_group(self, sample: Sample) -> bool:
        """Whether its verdict depends on the other samples of its group, which must then be scored in one call."""
        ...

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """One verdict a sample, in the same order. Never raises for what a sample contains."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScores:
    """What credit is made from: the samples of one group that were judged, infra faults left out."""

    scores_G: NDArray[np.float64]
    penalties_GT: Sequence[NDArray[np.float64]]
    """For each sample, what every one of its tokens takes off the reward (a KL penalty, or zeros); shape [T] each."""


class AdvantageFn(Protocol):
    """Scores of all groups of one step -> advantage of every token. Pure."""

    def __call__(self, groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
        """For each group, for each sample, an array of shape [T]. A group may be empty."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInputs:
    """The tokens of one micro-batch that carry a loss weight, end to end; what a loss sees.

    All tensors have shape [T], float32, on the learner's device; only `logprobs_T` and `values_T` carry a gradient.
    """

    logprobs_T: Tensor
    """Of each token under the current policy, after the batch's temperature."""
    weights_T: Tensor
    advantages_T: Tensor
    behaviour_logprobs_T: Tensor
    """Under the policy that sampled the token, as the generator reported it."""
    reference_logprobs_T: Tensor
    """Under the frozen reference model."""
    proximal_logprobs_T: Tensor
    """Under the policy before the first optimizer step on this rollout batch."""
    proximal_mix_T: Tensor
    """Share of the current policy in the log-linear estimate of the proximal one."""
    returns_T: Tensor
    old_values_T: Tensor
    values_T: Tensor | None
    """What the critic predicts now, with a gradient; None for a learner without a critic."""
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

    def values(self, batch: TrainBatch) -> FloatArray:
        """The critic's prediction at every token with a loss weight other than 0, zero elsewhere.

        The prediction at token t sees the tokens before t only: it is the value of the state in which t is chosen.
        Shape of `batch.token_ids`; only of a learner with a critic.
        """
        ...

    def refresh_reference(self, mix: float) -> None:
        """Move the reference model to `(1 - mix) * reference + mix * policy`."""
        ...

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        """Write the current policy for the generators; what the manifest's `kind` says.

        `full`: a safetensors file, under the names of the HF model, tied ones too. `adapter`: a folder that peft loads.
        """
        ...

    def save_checkpoint(self, directory: Path) -> None:
        """Copy policy, optimizer and step as they are now, and start writing them into `directory`.

        The learner is free again when this returns. `directory` must not exist; publishing it is the caller's. One save
        at a time: a second call waits for the first.
        """
        ...

    def finish_checkpoint(self, *, wait: bool) -> bool:
        """Whether what `save_checkpoint` began is on disk; `wait` until it is. Raises what went wrong with it."""
        ...

    def load_checkpoint(self, directory: Path) -> None:
        """Continue from what `save_checkpoint` wrote, on any number of ranks."""
        ...

    def export(self, directory: Path) -> None:
        """Write a Hugging Face model directory (config and safetensors) into `directory`."""
        ...


class WeightStore(Protocol):
    """Carries weights from the learner to the generators, by version."""

    def publish(self, learner: Learner, *, version: int, keep_kv_cache: bool) -> Future[PublishReport]:
        """Write this version, let every generator pull it, and check each receipt's version and checksum.

        The learner is free again when this returns; the result is there when every generator serves the version. One
        version at a time: a second call waits for the first.
        """
        ...


class Tracker(Protocol):
    """Records what a stage did."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One record for one step; a later record for the same step replaces it."""
        ...


class Parts(Protocol):
    """The running parts, made by the assembly."""

    def prepare(self, model_dir: Path) -> None:
        """Start the engines with these weights, without waiting for them."""
        ...

    def build_learner(self, settings: LearnerSettings) -> Learner:
        """A learner that starts from `settings.model_dir`."""
        ...

    @property
    def generator(self) -> Generator:
        """All engines as one."""
        ...

    @property
    def scorer(self) -> Scorer:
        """The recipe's verifiers."""
        ...

    @property
    def weights(self) -> WeightStore:
        """From the learner to the engines."""
        ...

    def recover(self, error: LearnerLostError | DamagedWeightsError) -> None:
        """Start new learner ranks if one is lost, and have the engines drop what the lost step had asked of them.

        Raises:
            ClusterError: that has happened too often.
        """
        ...

    def serve(self, model_dir: Path) -> None:
        """Let the engines hold the weights of a finished artifact."""
        ...
