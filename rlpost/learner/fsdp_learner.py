"""One rank of the FSDP2 learner. Blind to the algorithm: batches bring weights and credit, losses are pure."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from rlpost.errors import TrainingError
from rlpost.interfaces import LossFn
from rlpost.learner import checkpoint
from rlpost.learner.adapter import save_adapter
from rlpost.learner.forward import MicroBatchView, idle_forward, packed_logprobs
from rlpost.learner.metric_sums import MetricSums
from rlpost.learner.model import build_policy, build_reference, export_pretrained, full_state, trainable_parameters
from rlpost.learner.packing import plan_micro_batches
from rlpost.learner.process_group import fix_randomness
from rlpost.learner.schedule import learning_rate_at
from rlpost.learner.settings import LearnerSettings
from rlpost.learner.sharding import gathered
from rlpost.records import FloatArray, StepReport, TrainBatch, WeightManifest
from rlpost.weight_file import write_weight_file


class FsdpLearner:
    """Implements `interfaces.Learner` for one rank; all ranks call every method together with the same arguments."""

    def __init__(self, settings: LearnerSettings, mesh: DeviceMesh) -> None:
        fix_randomness(seed=settings.seed, threads=settings.threads, deterministic=settings.deterministic)
        self._settings = settings
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        self._device = torch.device(settings.device)
        self._model = build_policy(settings, mesh)
        needs_copy = settings.keep_reference and settings.lora is None
        self._reference = build_reference(settings, mesh) if needs_copy else None
        self._optimizer = torch.optim.AdamW(
            trainable_parameters(self._model),
            lr=settings.optimizer.learning_rate,
            betas=settings.optimizer.betas,
            eps=settings.optimizer.eps,
            weight_decay=settings.optimizer.weight_decay,
        )
        self._step = 0

    @property
    def steps_taken(self) -> int:
        """Optimizer steps since the start of the stage, those before a resume included."""
        return self._step

    def step(self, batch: TrainBatch, loss: LossFn) -> StepReport:
        """One optimizer step on the whole batch; this rank computes its share.

        Raises:
            TrainingError: the loss or the gradient is not finite; the weights are left as they were.
        """
        started = time.perf_counter()
        rate = learning_rate_at(self._step, self._settings.optimizer, total_steps=self._settings.total_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        sums = MetricSums()
        # Where a model has dropout, a resumed run draws the same masks as one that was not interrupted.
        torch.manual_seed(self._settings.seed * 1_000_003 + self._step)
        for rows in self._my_micro_batches(batch):
            self._backward(batch, rows, loss, sums)
        grad_norm = self._clip()
        reduced = sums.reduce()
        mean_loss = reduced.total / batch.denominator
        if not (math.isfinite(grad_norm) and math.isfinite(mean_loss)):
            self._optimizer.zero_grad()
            raise TrainingError(
                f"the loss and its gradient must be finite; step {self._step} gave loss {mean_loss} and gradient norm "
                f"{grad_norm}: lower optimizer.learning_rate, or look for extreme ratios in metrics.jsonl"
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._step += 1
        return StepReport(
            step=self._step,
            loss=mean_loss,
            grad_norm=grad_norm,
            learning_rate=rate,
            tokens=len(batch.token_ids),
            scored_tokens=int(np.count_nonzero(batch.weights_T)),
            seconds=time.perf_counter() - started,
            metrics=reduced.metrics,
        )

    def logprobs(self, batch: TrainBatch, *, reference: bool) -> FloatArray:
        """See `interfaces.Learner.logprobs`; every rank returns the whole."""
        result = np.zeros(len(batch.token_ids), np.float32)
        self._model.eval()  # Dropout has no place in numbers that are compared with an engine's.
        with torch.no_grad():
            for rows in self._my_micro_batches(batch):
                if not rows:
                    self._run_idle(reference=reference)
                    continue
                view = MicroBatchView.of(batch, rows)
                values = self._forward(view, temperature=batch.temperature, reference=reference)
                result[view.token_index_T[view.scored_K]] = values.cpu().numpy()
        self._model.train()
        whole = torch.from_numpy(result).to(self._device)
        dist.all_reduce(whole)
        return whole.cpu().numpy()

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        """See `interfaces.Learner.write_weights`; rank 0 writes, every rank returns the manifest."""
        state = full_state(self._model, self._settings)
        manifests: list[WeightManifest | None] = [None]
        if self._rank == 0:
            manifests = [write_weight_file(state, path, version=version)]
        dist.broadcast_object_list(manifests, src=0)
        assert manifests[0] is not None
        return manifests[0]

    def save_checkpoint(self, directory: Path) -> None:
        """See `interfaces.Learner.save_checkpoint`."""
        checkpoint.save_checkpoint(directory, model=self._model, optimizer=self._optimizer, step=self._step)

    def load_checkpoint(self, directory: Path) -> None:
        """See `interfaces.Learner.load_checkpoint`."""
        self._step = checkpoint.load_checkpoint(directory, model=self._model, optimizer=self._optimizer)

    def export(self, directory: Path) -> None:
        """See `interfaces.Learner.export`; rank 0 writes."""
        state = full_state(self._model, self._settings)
        if self._rank == 0:
            export_pretrained(state, self._settings, directory)
        if self._settings.lora is not None:
            save_adapter(self._model, directory / "adapter", is_writer=self._rank == 0)
        dist.barrier()

    def _my_micro_batches(self, batch: TrainBatch) -> list[list[int]]:
        budget = self._settings.learner.micro_batch_tokens
        return plan_micro_batches(batch, ranks=self._ranks, token_budget=budget)[self._rank]

    def _backward(self, batch: TrainBatch, rows: list[int], loss: LossFn, sums: MetricSums) -> None:
        # FSDP averages gradients over ranks; the batch's denominator is global, so the average is undone here.
        scale = self._ranks / batch.denominator
        if not rows:
            (idle_forward(self._model, self._device) * scale).backward()
            return
        view = MicroBatchView.of(batch, rows)
        loss_sums = loss(view.loss_inputs(self._forward(view, temperature=batch.temperature, reference=False)))
        (loss_sums.total * scale).backward()
        sums.add(loss_sums)

    def _forward(self, view: MicroBatchView, *, temperature: float, reference: bool) -> Tensor:
        tokens = view.pack(self._device)
        if not reference:
            return packed_logprobs(self._model, tokens, temperature=temperature)
        if self._reference is not None:
            return packed_logprobs(self._reference, tokens, temperature=temperature)
        assert self._settings.lora is not None, "reference log-probabilities need keep_reference"
        with self._model.disable_adapter():  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue, reportAttributeAccessIssue, reportOptionalCall] peft's wrapper
            return packed_logprobs(self._model, tokens, temperature=temperature)

    def _run_idle(self, *, reference: bool) -> None:
        idle_forward(self._reference if reference and self._reference is not None else self._model, self._device)

    def _clip(self) -> float:
        norm = nn.utils.clip_grad_norm_(trainable_parameters(self._model), self._settings.optimizer.max_grad_norm)
        return float(gathered(norm))
