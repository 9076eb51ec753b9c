"""One rank of the FSDP2 learner. It knows no algorithm: batches bring weights and advantages, losses are pure
functions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
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
from rlpost.interfaces import POLICY, REFERENCE, LossFn
from rlpost.learner.adapter import save_adapter
from rlpost.learner.background_save import BackgroundSave
from rlpost.learner.checkpoint import CheckpointPart, Progress, begin_checkpoint, load_checkpoint, read_progress
from rlpost.learner.exporting import export_pretrained, full_state
from rlpost.learner.forward import MicroBatchView, PackedTokens, idle_forward, packed_logprobs, packed_values
from rlpost.learner.metric_sums import MetricSums
from rlpost.learner.model import build_critic, build_frozen, build_policy, mix_into
from rlpost.learner.optimization import TrainedModel
from rlpost.learner.process_group import fix_randomness, step_seed
from rlpost.learner.sharding import reshard
from rlpost.learner.shares import BatchShare
from rlpost.records import FloatArray
from rlpost.settings import LearnerSettings
from rlpost.train_records import Component, StepReport, TrainBatch
from rlpost.weight_file import manifest_of_adapter, write_weight_file


class _Norms(NamedTuple):
    policy: float
    critic: float | None


class FsdpLearner:
    """One rank behind `ranked.RankedLearner`: all ranks call every method together.

    A method that computes on a batch gets this rank's `BatchShare`; all other arguments are the same on every rank.
    """

    def __init__(self, settings: LearnerSettings, mesh: DeviceMesh) -> None:
        fix_randomness(seed=settings.seed, threads=settings.threads, deterministic=settings.deterministic)
        self._settings = settings
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        self._device = torch.device(settings.device)
        self._policy = TrainedModel(build_policy(settings, mesh), settings.optimizer, total_steps=settings.total_steps)
        self._critic = _trained_critic(settings, mesh)
        needs_copy = settings.keep_reference and settings.lora is None
        self._reference = build_frozen(settings, mesh, model_dir=settings.model_dir) if needs_copy else None
        self._teachers = {
            name: build_frozen(settings, mesh, model_dir=model_dir) for name, model_dir in settings.teachers.items()
        }
        self._reference_moved = False
        self._save = BackgroundSave()
        self._step = 0

    @property
    def steps_taken(self) -> int:
        """Optimizer steps since the start of the stage, including those before a resume."""
        return self._step

    def step(self, share: BatchShare, loss: LossFn, *, planned_step: int | None) -> StepReport:
        """Take one optimizer step on the whole batch, of which this rank computes its share.

        Raises:
            NonFiniteError: the loss or the gradient is not finite; the weights are unchanged.
        """
        started = time.perf_counter()
        batch, planned = share.batch, self._step if planned_step is None else planned_step
        sums = MetricSums(several_components=len(batch.components) > 1)
        # If the model has dropout, a resumed run draws the same masks as an uninterrupted one.
        torch.manual_seed(step_seed(self._settings.seed, planned))
        for rows in share.micro_batches:
            self._backward(batch, rows, loss, sums)
        norms = _Norms(self._policy.clip(), None if self._critic is None else self._critic.clip())
        reduced = sums.reduce()
        losses = _mean_losses(batch.components, reduced.totals)
        mean_loss = sum(losses.values())
        if not all(math.isfinite(number) for number in (mean_loss, *norms) if number is not None):
            self._refuse_step(mean_loss, norms)
        rate = self._policy.update(planned)
        if self._critic is not None:
            self._critic.update(planned)
        self._step += 1
        metrics = reduced.metrics if norms.critic is None else reduced.metrics | {"critic_grad_norm": norms.critic}
        if len(losses) > 1:
            metrics = metrics | {f"{name}/loss": value for name, value in losses.items()}
        return StepReport(
            step=self._step,
            loss=mean_loss,
            grad_norm=norms.policy,
            learning_rate=rate,
            tokens=share.token_count,
            scored_tokens=share.scored_count,
            seconds=time.perf_counter() - started,
            metrics=metrics,
        )

    def logprobs(self, share: BatchShare, *, of: str) -> FloatArray:
        """See `interfaces.Learner.logprobs`; it answers for the tokens of this rank's share.

        Raises:
            RecipeError: no model of the learner has this name.
        """
        assert self._settings.head == "language_model", "a reward model has scores, not log-probabilities"
        adapted = self._policy.module
        if of == REFERENCE and self._settings.lora is not None:
            with cast(Any, adapted).disable_adapter():
                return self._without_gradient(share, adapted, self._logprobs_of(share, adapted))
        models = {POLICY: adapted, **self._teachers}
        if self._reference is not None:
            models[REFERENCE] = self._reference
        if of not in models:
            raise RecipeError(f"log-probabilities must be those of {', '.join(models)}; asked for {of}")
        return self._without_gradient(share, models[of], self._logprobs_of(share, models[of]))

    def values(self, share: BatchShare) -> FloatArray:
        """See `interfaces.Learner.values`; it answers for the tokens of this rank's share. A reward model returns its
        scores.
        """
        module, before = self._scorer()
        return self._without_gradient(share, module, lambda tokens: packed_values(module, tokens, before=before))

    def refresh_reference(self, mix: float) -> None:
        """See `interfaces.Learner.refresh_reference`.

        Raises:
            RecipeError: the policy is an adapter, whose reference is the model without the adapter.
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
        """See `interfaces.Learner.write_weights`; rank 0 writes, and every rank returns the manifest."""
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
        """See `interfaces.Learner.save_checkpoint`; includes the critic, and the reference once it has been
        refreshed.
        """
        progress = Progress(self._step, has_reference=self._reference_moved)
        begin_checkpoint(self._save, directory, self._checkpoint_parts(), progress=progress)

    def finish_checkpoint(self, *, wait: bool) -> bool:
        """See `interfaces.Learner.finish_checkpoint`.

        Raises:
            StorageError: a write found no space left; every rank raises it.
        """
        return self._save.finish(wait=wait)

    def load_checkpoint(self, directory: Path) -> None:
        """See `interfaces.Learner.load_checkpoint`."""
        progress = read_progress(directory)
        self._reference_moved = progress.has_reference
        load_checkpoint(directory, self._checkpoint_parts(), step=progress.step)
        self._step = progress.step

    def close(self) -> None:
        """Wait until the current save ends, before the learner is dropped."""
        self._save.close()

    def export(self, directory: Path) -> None:
        """See `interfaces.Learner.export`; rank 0 writes."""
        state = full_state(self._policy.module, self._settings)
        if self._rank == 0:
            export_pretrained(state, self._settings, directory)
        if self._settings.lora is not None:
            save_adapter(self._policy.module, directory / "adapter", is_writer=self._rank == 0)
        dist.barrier()

    def _backward(self, batch: TrainBatch, rows: Sequence[int], loss: LossFn, sums: MetricSums) -> None:
        if not rows:
            modules = [trained.module for trained in (self._policy, self._critic) if trained is not None]
            zeros = [idle_forward(module, self._device) for module in modules]
            torch.stack(zeros).sum().backward()
            return
        view = MicroBatchView.of(batch, rows)
        logprobs_K, values_K = self._outputs(view)
        totals: list[Tensor] = []
        for place, component in enumerate(batch.components):
            inputs = view.loss_inputs(logprobs_K, values_K, component=place, columns=loss.columns)
            if inputs is None:
                continue
            loss_sums = loss(inputs)
            sums.add(component.name, loss_sums)
            # FSDP averages gradients over ranks, but the denominator is that of the whole batch, so the average is
            # undone.
            totals.append(loss_sums.total * (self._ranks * component.weight / component.denominator))
        # Even without a scored token, every rank must follow the forward pass by a backward pass.
        if not totals:
            outputs = [logprobs_K] if values_K is None else [logprobs_K, values_K]
            totals = [sum((output_K.sum() for output_K in outputs), start=torch.zeros((), device=self._device)) * 0.0]
        sum(totals[1:], start=totals[0]).backward()

    def _outputs(self, view: MicroBatchView) -> tuple[Tensor, Tensor | None]:
        """Return log-probabilities and values of the scored tokens, with gradients; shape [K] each."""
        tokens = view.pack(self._device)
        if self._settings.head == "score":
            values_K = packed_values(self._policy.module, tokens, before=False)
            return torch.zeros_like(values_K), values_K
        logprobs_K = packed_logprobs(self._policy.module, tokens, temperature=view.batch.temperature)
        if self._critic is None:
            return logprobs_K, None
        return logprobs_K, packed_values(self._critic.module, tokens, before=True)

    def _without_gradient(
        self, share: BatchShare, module: nn.Module, read: Callable[[PackedTokens], Tensor]
    ) -> FloatArray:
        """Return the result of `read` at every scored token of the share, and zero elsewhere; a collective."""
        result = np.zeros(len(share.batch.token_ids), np.float32)
        with _inference(module):
            for rows in share.micro_batches:
                if not rows:
                    idle_forward(module, self._device)
                    continue
                view = MicroBatchView.of(share.batch, rows)
                result[view.token_index_T[view.scored_K]] = read(view.pack(self._device)).cpu().numpy()
        return result

    def _logprobs_of(self, share: BatchShare, module: nn.Module) -> Callable[[PackedTokens], Tensor]:
        return lambda tokens: packed_logprobs(module, tokens, temperature=share.batch.temperature)

    def _scorer(self) -> tuple[nn.Module, bool]:
        """Return the model with a score head, and whether it is read before each token, as a critic is."""
        if self._settings.head == "score":
            return self._policy.module, False
        assert self._critic is not None, "values need a critic"
        return self._critic.module, True

    def _checkpoint_parts(self) -> list[CheckpointPart]:
        parts = [CheckpointPart("model", self._policy.module, self._policy.optimizers)]
        if self._critic is not None:
            parts.append(CheckpointPart("critic", self._critic.module, self._critic.optimizers))
        if self._reference_moved:
            assert self._reference is not None, "a checkpoint with a reference needs keep_reference"
            parts.append(CheckpointPart("reference", self._reference, ()))
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


def _mean_losses(components: Sequence[Component], totals: Mapping[str, float]) -> dict[str, float]:
    """Return component -> its weighted mean loss; a component without tokens adds nothing."""
    return {
        component.name: component.weight * totals.get(component.name, 0.0) / component.denominator
        for component in components
    }


def _trained_critic(settings: LearnerSettings, mesh: DeviceMesh) -> TrainedModel | None:
    if settings.critic is None:
        return None
    # Groups name parameters of the policy.
    own = {"learning_rate": settings.critic.learning_rate, "groups": []}
    optimizer = settings.optimizer.model_copy(update=own)
    return TrainedModel(build_critic(settings, mesh), optimizer, total_steps=settings.total_steps)


@contextmanager
def _inference(module: nn.Module) -> Generator[None]:
    """Disable gradients and dropout: the numbers are compared with an engine's, which uses no dropout."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)
        reshard(module)
