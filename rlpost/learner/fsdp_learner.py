"""One rank of the FSDP2 learner. Blind to the algorithm: batches bring weights and credit, losses are pure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from rlpost.engine_records import WeightManifest
from rlpost.errors import NonFiniteError, RecipeError
from rlpost.interfaces import LossFn, LossInputs
from rlpost.learner.adapter import save_adapter
from rlpost.learner.background_save import BackgroundSave
from rlpost.learner.checkpoint import CheckpointPart, Progress, begin_checkpoint, load_checkpoint, read_progress
from rlpost.learner.exporting import export_pretrained, full_state
from rlpost.learner.forward import MicroBatchView, PackedTokens, idle_forward, packed_logprobs, packed_values
from rlpost.learner.metric_sums import MetricSums
from rlpost.learner.model import build_critic, build_policy, build_reference, mix_into
from rlpost.learner.optimization import TrainedModel
from rlpost.learner.packing import plan_micro_batches
from rlpost.learner.process_group import fix_randomness
from rlpost.learner.sharding import reshard
from rlpost.records import FloatArray, StepReport, TrainBatch
from rlpost.settings import LearnerSettings
from rlpost.weight_file import manifest_of_adapter, write_weight_file


class _Norms(NamedTuple):
    policy: float
    critic: float | None


class FsdpLearner:
    """Implements `interfaces.Learner` for one rank; all ranks call every method together with the same arguments."""

    def __init__(self, settings: LearnerSettings, mesh: DeviceMesh) -> None:
        fix_randomness(seed=settings.seed, threads=settings.threads, deterministic=settings.deterministic)
        self._settings = settings
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        self._device = torch.device(settings.device)
        self._policy = TrainedModel(build_policy(settings, mesh), settings.optimizer, total_steps=settings.total_steps)
        self._critic = _trained_critic(settings, mesh)
        needs_copy = settings.keep_reference and settings.lora is None
        self._reference = build_reference(settings, mesh) if needs_copy else None
        self._reference_moved = False
        self._save = BackgroundSave()
        self._step = 0

    @property
    def steps_taken(self) -> int:
        """Optimizer steps since the start of the stage, those before a resume included."""
        return self._step

    def step(self, batch: TrainBatch, loss: LossFn) -> StepReport:
        """One optimizer step on the whole batch; this rank computes its share.

        Raises:
            NonFiniteError: the loss or the gradient is not finite; the weights are left as they were.
        """
        started = time.perf_counter()
        sums = MetricSums()
        # Where a model has dropout, a resumed run draws the same masks as one that was not interrupted.
        torch.manual_seed(self._settings.seed * 1_000_003 + self._step)
        for rows in self._my_micro_batches(batch):
            self._backward(batch, rows, loss, sums)
        norms = _Norms(self._policy.clip(), None if self._critic is None else self._critic.clip())
        reduced = sums.reduce()
        mean_loss = reduced.total / batch.denominator
        if not all(math.isfinite(number) for number in (mean_loss, *norms) if number is not None):
            self._refuse_step(mean_loss, norms)
        rate = self._policy.update(self._step)
        if self._critic is not None:
            self._critic.update(self._step)
        self._step += 1
        return StepReport(
            step=self._step,
            loss=mean_loss,
            grad_norm=norms.policy,
            learning_rate=rate,
            tokens=len(batch.token_ids),
            scored_tokens=int(np.count_nonzero(batch.weights_T)),
            seconds=time.perf_counter() - started,
            metrics=reduced.metrics if norms.critic is None else reduced.metrics | {"critic_grad_norm": norms.critic},
        )

    def logprobs(self, batch: TrainBatch, *, reference: bool) -> FloatArray:
        """See `interfaces.Learner.logprobs`; every rank returns the whole."""
        assert self._settings.head == "language_model", "a reward model has scores, not log-probabilities"
        if not reference:
            return self._without_gradient(batch, self._policy.module, self._logprobs_of(batch, self._policy.module))
        if self._reference is not None:
            return self._without_gradient(batch, self._reference, self._logprobs_of(batch, self._reference))
        assert self._settings.lora is not None, "reference log-probabilities need keep_reference"
        adapted = self._policy.module
        with cast(Any, adapted).disable_adapter():
            return self._without_gradient(batch, adapted, self._logprobs_of(batch, adapted))

    def values(self, batch: TrainBatch) -> FloatArray:
        """See `interfaces.Learner.values`; every rank returns the whole. Of a reward model: the score at each token."""
        module, before = self._scorer()
        return self._without_gradient(batch, module, lambda tokens: packed_values(module, tokens, before=before))

    def refresh_reference(self, mix: float) -> None:
        """See `interfaces.Learner.refresh_reference`.

        Raises:
            RecipeError: the policy is an adapter, whose reference is the model under it.
        """
        if self._settings.lora is not None:
            raise RecipeError(
                "refreshing the reference needs a reference of its own, and with lora it is the model without its "
                "adapter: remove kl.refresh_every or lora"
            )
        assert self._reference is not None, "refreshing the reference needs keep_reference"
        mix_into(self._reference, self._policy.module, mix=mix)
        self._reference_moved = True

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        """See `interfaces.Learner.write_weights`; rank 0 writes, every rank returns the manifest."""
        manifests: list[WeightManifest | None] = [None]
        if self._settings.lora is not None and self._settings.lora.sync == "adapter":
            save_adapter(self._policy.module, path, is_writer=self._rank == 0)
            if self._rank == 0:
                manifests = [manifest_of_adapter(path, version=version)]
        else:
            state = full_state(self._policy.module, self._settings)
            if self._rank == 0:
                manifests = [write_weight_file(state, path, version=version)]
        dist.broadcast_object_list(manifests, src=0)
        assert manifests[0] is not None
        return manifests[0]

    def save_checkpoint(self, directory: Path) -> None:
        """See `interfaces.Learner.save_checkpoint`; holds the critic, and the reference once it was refreshed."""
        progress = Progress(self._step, has_reference=self._reference_moved)
        begin_checkpoint(self._save, directory, self._checkpoint_parts(), progress=progress)

    def finish_checkpoint(self, *, wait: bool) -> bool:
        """See `interfaces.Learner.finish_checkpoint`.

        Raises:
            StorageError: a write found no room; every rank raises it.
        """
        return self._save.finish(wait=wait)

    def load_checkpoint(self, directory: Path) -> None:
        """See `interfaces.Learner.load_checkpoint`."""
        progress = read_progress(directory)
        self._reference_moved = progress.has_reference
        load_checkpoint(directory, self._checkpoint_parts(), step=progress.step)
        self._step = progress.step

    def close(self) -> None:
        """Let a save under way end; before the learner is dropped."""
        self._save.close()

    def export(self, directory: Path) -> None:
        """See `interfaces.Learner.export`; rank 0 writes."""
        state = full_state(self._policy.module, self._settings)
        if self._rank == 0:
            export_pretrained(state, self._settings, directory)
        if self._settings.lora is not None:
            save_adapter(self._policy.module, directory / "adapter", is_writer=self._rank == 0)
        dist.barrier()

    def _my_micro_batches(self, batch: TrainBatch) -> list[list[int]]:
        budget = self._settings.learner.micro_batch_tokens
        return plan_micro_batches(batch, ranks=self._ranks, token_budget=budget)[self._rank]

    def _backward(self, batch: TrainBatch, rows: list[int], loss: LossFn, sums: MetricSums) -> None:
        # FSDP averages gradients over ranks; the batch's denominator is global, so the average is undone here.
        scale = self._ranks / batch.denominator
        if not rows:
            modules = [trained.module for trained in (self._policy, self._critic) if trained is not None]
            zeros = [idle_forward(module, self._device) for module in modules]
            (torch.stack(zeros).sum() * scale).backward()
            return
        loss_sums = loss(self._loss_inputs(MicroBatchView.of(batch, rows)))
        (loss_sums.total * scale).backward()
        sums.add(loss_sums)

    def _loss_inputs(self, view: MicroBatchView) -> LossInputs:
        tokens = view.pack(self._device)
        if self._settings.head == "score":
            values_K = packed_values(self._policy.module, tokens, before=False)
            return view.loss_inputs(torch.zeros_like(values_K), values_K)
        logprobs_K = packed_logprobs(self._policy.module, tokens, temperature=view.batch.temperature)
        if self._critic is None:
            return view.loss_inputs(logprobs_K, None)
        return view.loss_inputs(logprobs_K, packed_values(self._critic.module, tokens, before=True))

    def _without_gradient(
        self, batch: TrainBatch, module: nn.Module, read: Callable[[PackedTokens], Tensor]
    ) -> FloatArray:
        """`read` at every scored token of the batch, zero elsewhere; a collective."""
        result = np.zeros(len(batch.token_ids), np.float32)
        with _inference(module):
            for rows in self._my_micro_batches(batch):
                if not rows:
                    idle_forward(module, self._device)
                    continue
                view = MicroBatchView.of(batch, rows)
                result[view.token_index_T[view.scored_K]] = read(view.pack(self._device)).cpu().numpy()
        if self._ranks == 1:
            return result
        whole = torch.from_numpy(result).to(self._device)
        dist.all_reduce(whole)
        return whole.cpu().numpy()

    def _logprobs_of(self, batch: TrainBatch, module: nn.Module) -> Callable[[PackedTokens], Tensor]:
        return lambda tokens: packed_logprobs(module, tokens, temperature=batch.temperature)

    def _scorer(self) -> tuple[nn.Module, bool]:
        """The model with a score head, and whether it is asked before each token, as a critic is."""
        if self._settings.head == "score":
            return self._policy.module, False
        assert self._critic is not None, "values need a critic"
        return self._critic.module, True

    def _checkpoint_parts(self) -> list[CheckpointPart]:
        parts = [CheckpointPart("model", self._policy.module, self._policy.optimizer)]
        if self._critic is not None:
            parts.append(CheckpointPart("critic", self._critic.module, self._critic.optimizer))
        if self._reference_moved:
            assert self._reference is not None, "a checkpoint with a reference needs keep_reference"
            parts.append(CheckpointPart("reference", self._reference, None))
        return parts

    def _refuse_step(self, mean_loss: float, norms: _Norms) -> None:
        self._policy.discard()
        of_critic = ""
        if self._critic is not None:
            self._critic.discard()
            of_critic = f" (critic: {norms.critic})"
        raise NonFiniteError(
            f"the loss and its gradient must be finite; step {self._step} gave loss {mean_loss} and gradient norm "
            f"{norms.policy}{of_critic}: lower optimizer.learning_rate, or look for extreme ratios in metrics.jsonl"
        )


def _trained_critic(settings: LearnerSettings, mesh: DeviceMesh) -> TrainedModel | None:
    if settings.critic is None:
        return None
    optimizer = settings.optimizer.model_copy(update={"learning_rate": settings.critic.learning_rate})
    return TrainedModel(build_critic(settings, mesh), optimizer, total_steps=settings.total_steps)


@contextmanager
def _inference(module: nn.Module) -> Generator[None]:
    """No gradients and no dropout, which has no place in numbers that are compared with an engine's."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)
        reshard(module)
