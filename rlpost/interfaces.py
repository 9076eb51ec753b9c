"""Every seam of the system as a Protocol.

The RL loop that joins them, in ten lines:

    for step in range(start, stage.steps):
        groups = buffer.take(version=step)                # Sampler -> Generator -> Scorer -> buffer, never too old
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
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlpost.engine_records import EngineLoad, PublishReport, WeightManifest, WeightReceipt
from rlpost.errors import DamagedWeightsError, LearnerLostError, RecipeError
from rlpost.records import Completion, FloatArray, GenerationRequest, RolloutGroup, Sample, Verdict
from rlpost.settings import LearnerSettings
from rlpost.train_records import StepReport, TrainBatch

if TYPE_CHECKING:
    from torch import Tensor


class Generator(Protocol):
    """Samples responses. One vLLM engine, or a pool of them that looks like one."""

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Start these requests; returns at once."""
        ...

    def poll(self, timeout_s: float) -> list[Completion]:
        """Completions finished since the last call, in no particular order.

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


class Sampler(Protocol):
    """Chooses the rows of a data set that a stage uses next. Has state, which is saved with the learner's.

    Equal state and equal observations give equal rows. Not thread-safe.
    """

    def next(self, count: int) -> list[int]:
        """Indices of the next `count` rows, in order; a row may come again."""
        ...

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """Learn from scored groups, in the order of issue; each group is told once. Supervised stages tell none."""
        ...

    def state(self) -> dict[str, Any]:
        """Plain data from which `load` goes on."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises `DataError` if it is the state of another data set.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScores:
    """The judged samples of one group, from which credit is made; infra faults are left out."""

    scores_G: NDArray[np.float64]
    penalties_GT: Sequence[NDArray[np.float64]]
    """For each sample, the amount that every token of the policy takes off the reward (a KL penalty, or zeros); shape
    [T] each, over the trained tokens of all trajectories of the sample."""


class AdvantageFn(Protocol):
    """Scores of all groups of one step -> advantage of every token that the policy chose. Pure."""

    def __call__(self, groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
        """For each group, for each sample, an array of shape [T] like its penalties. A group may be empty."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInputs:
    """The tokens of one component of one micro-batch that carry a loss weight, end to end.

    All tensors have shape [T], float32, on the learner's device; only `logprobs_T` and `values_T` carry a gradient.
    `inputs["advantages_T"]` is a column of the batch; `train_records` has the names in use.
    """

    logprobs_T: Tensor
    """Log-probability of each token under the current policy, after the batch's temperature."""
    weights_T: Tensor
    columns: Mapping[str, Tensor]
    """The columns that the loss declares, and no others."""
    values_T: Tensor | None
    """The critic's predictions now, with a gradient; None for a learner without a critic."""
    row_T: Tensor
    """Index of the row within the micro-batch, int64; rows of one unit are neighbours."""
    row_count: int
    component: str
    """Name of the component that the tokens belong to."""

    def __getitem__(self, column: str) -> Tensor:
        """A column of the batch; shape [T].

        Raises `RecipeError` if the loss does not declare it, or the batch does not have it.
        """
        if column not in self.columns:
            raise RecipeError(
                f"a loss must declare the columns that it reads, and the batch must have them; {self.component} has "
                f"{', '.join(self.columns) or 'no columns'} and not {column}: add it to the loss's `columns`, or fill "
                "it in"
            )
        return self.columns[column]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSums:
    """What a loss returns for one micro-batch. Sums, so that they add up over micro-batches and ranks."""

    total: Tensor
    """Scalar to differentiate; the learner divides it by the component's denominator."""
    means: Mapping[str, tuple[Tensor, Tensor | float]]
    """Metric name -> (sum, count), detached; reported as sum of sums over sum of counts."""
    maxima: Mapping[str, Tensor]
    """Metric name -> value, detached; reported as the maximum."""


class LossFn(Protocol):
    """A pure function of tensors, and a frozen, picklable dataclass of its coefficients."""

    @property
    def columns(self) -> frozenset[str]:
        """Names of the batch's columns that the loss reads; a batch without one of them is refused."""
        ...

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """The summed loss of one component of one micro-batch."""
        ...


POLICY = "policy"
REFERENCE = "reference"
"""Models that `Learner.logprobs` may be asked for, beside teachers."""


class Learner(Protocol):
    """Holds the policy and its optimizer. Blind to the algorithm: a batch arrives with weights and credit."""

    def step(self, batch: TrainBatch, loss: LossFn) -> StepReport:
        """One optimizer step on the whole batch. A batch of several components wants a loss for each (`losses.parts`).

        Raises `RecipeError` if the batch lacks a column that the loss reads.
        """
        ...

    def logprobs(self, batch: TrainBatch, *, of: str) -> FloatArray:
        """Log-probability of every token with a loss weight other than 0, zero elsewhere; shape of `batch.token_ids`.

        `of` names the model: `POLICY`, `REFERENCE` (the frozen start of the stage), or a teacher of the learner's
        settings.
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
