"""The interfaces between all parts of the system, as Protocols.

The RL loop that joins them, in ten lines:

    for step in range(start, stage.steps):
        groups = buffer.take(version=step)                # Sampler -> Generator -> Scorer -> buffer, never too old
        canary.check(groups, learner)                     # Generator and Learner agree on log-probabilities
        batch = pack(groups, advantage)                   # AdvantageFn: scores -> per-token credit
        report = learner.step(batch, loss)                # Learner: LossFn -> gradient -> optimizer
        sync = weights.publish(learner, version=step + 1) # WeightStore: learner -> generators, acknowledged
        sync.add_done_callback(buffer.advance)            # the new version opens room for new prompts
        tracker.log(step, report, sync, groups)           # Tracker

Every other stage has the same loop, with rows from a data set instead of the first three lines.
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
    """Samples responses. One vLLM engine, or a pool of engines that behaves like one."""

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Start these requests, and return at once."""
        ...

    def poll(self, timeout_s: float) -> list[Completion]:
        """Return the completions finished since the last call, in no particular order.

        Waits up to `timeout_s` for the first one; the list is empty if none finished in that time.
        """
        ...

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        """Load the published weights; return one receipt per engine. Requests in flight continue with the new weights.

        Their keys and values are recomputed with the new weights, or kept (`keep_kv_cache`). May be called from another
        thread than `submit` and `poll`.

        Raises `WeightSyncError` if the data read differs from the manifest.
        """
        ...

    def abandon(self) -> None:
        """Drop every request; none of them is answered after this returns. Must not be called while another thread
        polls.
        """
        ...

    def loads(self) -> list[EngineLoad]:
        """Return the last reported load of each engine, without waiting."""
        ...


class Scorer(Protocol):
    """Judges samples by the verifiers to which the recipe routes them."""

    def by_group(self, sample: Sample) -> bool:
        """Whether the sample's verdict depends on the other samples of its group, which must then be scored in the same
        call.
        """
        ...

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """Return one verdict per sample, in the same order. No content of a sample may raise an error."""
        ...


class Sampler(Protocol):
    """Chooses the next rows of a data set that a stage uses. It has a state, which is saved with the learner's.

    Equal states and equal observations give equal rows. Not thread-safe.
    """

    def next(self, count: int) -> list[int]:
        """Return the indices of the next `count` rows, in order; a row may be repeated."""
        ...

    def observe(self, groups: Sequence[RolloutGroup]) -> None:
        """A step is over: learn from its scored groups, in the order of issue; each group is given once.

        Supervised stages give none.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return plain data from which `load` continues."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state` returned.

        Raises `DataError` if it is the state of another data set.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScores:
    """The judged samples of one group, from which advantages are computed; infra faults are left out."""

    scores_G: NDArray[np.float64]
    penalties_GT: Sequence[NDArray[np.float64]]
    """For each sample, the amount subtracted from the reward at every token of the policy (a KL penalty, or zeros);
    shape [T] each, over the trained tokens of all trajectories of the sample."""


class AdvantageFn(Protocol):
    """Turns the scores of all groups of one step into an advantage for every token that the policy chose. Pure."""

    def __call__(self, groups: Sequence[GroupScores], /) -> list[list[NDArray[np.float64]]]:
        """Return for each group, and for each sample, an array of shape [T] like its penalties. A group may be
        empty.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInputs:
    """The tokens of one component of one micro-batch that carry a loss weight, end to end.

    All tensors have shape [T], float32, on the learner's device; only `logprobs_T` and `values_T` carry a gradient.
    `inputs["advantages_T"]` is a column of the batch; `train_records` lists the names in use.
    """

    logprobs_T: Tensor
    """Log-probability of each token under the current policy, after the batch's temperature."""
    weights_T: Tensor
    columns: Mapping[str, Tensor]
    """The columns that the loss declares, and no others."""
    values_T: Tensor | None
    """The critic's current predictions, with a gradient; None for a learner without a critic."""
    row_T: Tensor
    """Index of the row within the micro-batch, int64; rows of one unit are adjacent."""
    row_count: int
    component: str
    """Name of the component that the tokens belong to."""

    def __getitem__(self, column: str) -> Tensor:
        """Return a column of the batch; shape [T].

        Raises `RecipeError` if the loss does not declare the column, or the batch does not have it.
        """
        if column not in self.columns:
            raise RecipeError(
                f"a loss must declare the columns that it reads, and the batch must have them; the tokens of component "
                f"{self.component!r} come with {', '.join(self.columns) or 'no columns'}, and without {column}: add it "
                "to the loss's `columns`, or fill it in"
            )
        return self.columns[column]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSums:
    """The result of a loss for one micro-batch. It consists of sums, so that they can be added over micro-batches and
    ranks.
    """

    total: Tensor
    """Scalar to differentiate; the learner divides it by the component's denominator."""
    means: Mapping[str, tuple[Tensor, Tensor | float]]
    """Metric name -> (sum, count), detached; reported as the total sum over the total count."""
    maxima: Mapping[str, Tensor]
    """Metric name -> value, detached; reported as the maximum."""


class LossFn(Protocol):
    """A pure function of tensors, and a frozen, picklable dataclass of its coefficients."""

    @property
    def columns(self) -> frozenset[str]:
        """Names of the batch's columns that the loss reads; a batch that lacks one is rejected."""
        ...

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the summed loss of one component of one micro-batch."""
        ...


POLICY = "policy"
REFERENCE = "reference"
"""Names of models for `Learner.logprobs`, besides teachers."""


class Learner(Protocol):
    """Holds the policy and its optimizer. It knows no algorithm: a batch arrives with weights and advantages."""

    def step(self, batch: TrainBatch, loss: LossFn, *, planned_step: int | None = None) -> StepReport:
        """Take one optimizer step on the whole batch. A batch with several components needs a loss for each
        (`losses.parts`).

        `planned_step` is the index of this step among those that the stage plans, counted from 0; the learning rate
        depends on it. A stage that leaves steps out must give it, so that its schedule ends when the stage does. None
        stands for the number of steps taken so far.

        Raises `RecipeError` if the batch lacks a column that the loss reads.
        """
        ...

    def logprobs(self, batch: TrainBatch, *, of: str) -> FloatArray:
        """Return the log-probability of every token with a loss weight other than 0, zero elsewhere; shape of
        `batch.token_ids`.

        `of` names the model: `POLICY`, `REFERENCE` (the frozen start of the stage), or a teacher in the learner's
        settings.
        """
        ...

    def values(self, batch: TrainBatch) -> FloatArray:
        """Return the critic's prediction at every token with a loss weight other than 0, zero elsewhere.

        The prediction at token t sees only the tokens before t: it is the value of the state in which t is chosen.
        Shape of `batch.token_ids`; needs a learner with a critic.
        """
        ...

    def refresh_reference(self, mix: float) -> None:
        """Move the reference model to `(1 - mix) * reference + mix * policy`."""
        ...

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        """Write the current policy for the generators, in the form that the manifest's `kind` states.

        `full`: a safetensors file with the names of the HF model, including tied ones. `adapter`: a folder that peft
        loads.
        """
        ...

    def save_checkpoint(self, directory: Path) -> None:
        """Copy policy, optimizer and step in their current state, and start to write them into `directory`.

        The learner can continue when this returns. `directory` must not exist; the caller publishes it. There is only
        one save at a time: a second call waits for the first.
        """
        ...

    def finish_checkpoint(self, *, wait: bool) -> bool:
        """Return whether the save that `save_checkpoint` began is on disk, or `wait` until it is. Raise its error, if
        it failed.
        """
        ...

    def load_checkpoint(self, directory: Path) -> None:
        """Continue from a checkpoint that `save_checkpoint` wrote, on any number of ranks."""
        ...

    def export(self, directory: Path) -> None:
        """Write a Hugging Face model directory (config and safetensors) into `directory`."""
        ...


class WeightStore(Protocol):
    """Sends weights from the learner to the generators, by version."""

    def publish(self, learner: Learner, *, version: int, keep_kv_cache: bool) -> Future[PublishReport]:
        """Write this version, let every generator pull it, and check each receipt's version and checksum.

        The learner can continue when this returns; the future is done when every generator serves the version. There is
        only one publication at a time: a second call waits for the first.
        """
        ...


class Tracker(Protocol):
    """Records the metrics of a stage."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the record of one step; a later record for the same step replaces it."""
        ...


class Parts(Protocol):
    """The running parts, made by the assembly."""

    def prepare(self, model_dir: Path) -> None:
        """Start the engines with these weights, without waiting for them."""
        ...

    def build_learner(self, settings: LearnerSettings) -> Learner:
        """Build a learner that starts from `settings.model_dir`."""
        ...

    @property
    def generator(self) -> Generator:
        """All engines as one generator."""
        ...

    @property
    def scorer(self) -> Scorer:
        """The recipe's verifiers."""
        ...

    @property
    def weights(self) -> WeightStore:
        """The weight store between the learner and the engines."""
        ...

    def recover(self, error: LearnerLostError | DamagedWeightsError) -> None:
        """Start new learner ranks if one is lost, and make the engines drop all requests of the lost step.

        Raises:
            ClusterError: this has happened too often.
        """
        ...

    def serve(self, model_dir: Path) -> None:
        """Make the engines load the weights of a finished artifact."""
        ...
