"""A learner whose ranks live elsewhere: every rank runs every call, and each gets its share of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlpost.engine_records import WeightManifest
from rlpost.interfaces import LossFn
from rlpost.learner.shares import BatchShare, require_columns, shares_of
from rlpost.records import FloatArray
from rlpost.settings import LearnerSettings
from rlpost.train_records import StepReport, TrainBatch


class RankedLearner(ABC):
    """Implements `interfaces.Learner`; a subclass defines how a call reaches the ranks.

    Args:
        settings: The settings that the ranks were built from.
        ranks: Number of learner ranks.
    """

    def __init__(self, settings: LearnerSettings, *, ranks: int) -> None:
        self._token_budget, self._ranks = settings.learner.micro_batch_tokens, ranks

    @abstractmethod
    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Run a method on all ranks with the same arguments, and return rank 0's result."""

    @abstractmethod
    def _call_shares(self, method: str, shares: Sequence[BatchShare], *arguments: Any, **options: Any) -> list[Any]:
        """Run a method on all ranks, each with its share as the first argument, and return all results in order of
        rank.
        """

    def step(self, batch: TrainBatch, loss: LossFn, *, planned_step: int | None = None) -> StepReport:
        """See `interfaces.Learner`."""
        require_columns(batch, loss)
        shares = shares_of(batch, ranks=self._ranks, token_budget=self._token_budget).shares
        return self._call_shares("step", shares, loss, planned_step=planned_step)[0]

    def logprobs(self, batch: TrainBatch, *, of: str) -> FloatArray:
        """See `interfaces.Learner`."""
        return self._numbers("logprobs", batch, of=of)

    def values(self, batch: TrainBatch) -> FloatArray:
        """See `interfaces.Learner`."""
        return self._numbers("values", batch)

    def _numbers(self, method: str, batch: TrainBatch, **options: Any) -> FloatArray:
        """Return one value per token; every rank computes those of its own rows."""
        shared = shares_of(batch, ranks=self._ranks, token_budget=self._token_budget)
        return shared.joined(self._call_shares(method, shared.shares, **options), batch)

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
