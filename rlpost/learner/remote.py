"""A learner whose ranks live elsewhere: every call is the same call on every rank, and the answer is rank 0's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from rlpost.engine_records import WeightManifest
from rlpost.interfaces import LossFn
from rlpost.records import FloatArray, StepReport, TrainBatch


class RemoteLearner(ABC):
    """Implements `interfaces.Learner`; how a call travels is the subclass's."""

    @abstractmethod
    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Run a method of the learner on all ranks."""

    def step(self, batch: TrainBatch, loss: LossFn) -> StepReport:
        """See `interfaces.Learner`."""
        return self._call("step", batch, loss)

    def logprobs(self, batch: TrainBatch, *, reference: bool) -> FloatArray:
        """See `interfaces.Learner`."""
        return self._call("logprobs", batch, reference=reference)

    def values(self, batch: TrainBatch) -> FloatArray:
        """See `interfaces.Learner`."""
        return self._call("values", batch)

    def refresh_reference(self, mix: float) -> None:
        """See `interfaces.Learner`."""
        self._call("refresh_reference", mix)

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        """See `interfaces.Learner`."""
        return self._call("write_weights", path, version=version)

    def save_checkpoint(self, directory: Path) -> None:
        """See `interfaces.Learner`."""
        self._call("save_checkpoint", directory)

    def finish_checkpoint(self, *, wait: bool) -> bool:
        """See `interfaces.Learner`."""
        return self._call("finish_checkpoint", wait=wait)

    def load_checkpoint(self, directory: Path) -> None:
        """See `interfaces.Learner`."""
        self._call("load_checkpoint", directory)

    def export(self, directory: Path) -> None:
        """See `interfaces.Learner`."""
        self._call("export", directory)
