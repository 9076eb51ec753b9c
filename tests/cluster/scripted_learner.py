"""Learner ranks without a model, in real Ray actors: they fail and hang when a file says so."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes import FakeLearner, FakeParts

from rlpost.cluster.learner_group import LearnerActor, LearnerGroup
from rlpost.errors import LearnerLostError
from rlpost.interfaces import LossInputs, LossSums
from rlpost.learner.shares import BatchShare
from rlpost.settings import LearnerSettings

ORDERS = "SCRIPTED_LEARNER_ORDERS"
FAILING_STEP = 3


def orders(folder: Path) -> dict[str, str]:
    """The environment of ranks that look into this folder before each step."""
    folder.mkdir()
    here = Path(__file__).parent
    return {"PYTHONPATH": f"{here}{os.pathsep}{here.parent}", ORDERS: str(folder)}


class ScriptedRank:
    """Before the third step, carries out an order: a file that is named after one of the methods below."""

    def build(self, settings: LearnerSettings) -> None:
        weights = hashlib.blake2b((Path(settings.model_dir) / "config.json").read_bytes(), digest_size=4).digest()
        self._learner = FakeLearner(weights=int.from_bytes(weights, "big"))

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        # Files are the first rank's.
        return getattr(self._learner, method)(*arguments, **options) if os.environ["RANK"] == "0" else None

    def call_share(self, method: str, share: BatchShare, *arguments: Any, **options: Any) -> Any:
        if method == "step" and self._learner.steps + 1 == FAILING_STEP:
            for order in Path(os.environ[ORDERS]).iterdir():
                getattr(self, order.name)(order)
        return getattr(self._learner, method)(share.batch, *arguments, **options)

    def stop_the_last_rank_once(self, order: Path) -> None:
        if os.environ["RANK"] != "0":
            order.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)

    def run_out_of_memory_once(self, order: Path) -> None:
        order.unlink()
        raise MemoryError("12 GiB")

    def hang_in_a_collective(self, order: Path) -> None:
        time.sleep(600)


@dataclass(frozen=True)
class LossWithoutTensors:
    """Goes with a batch to ranks that have no model and compute nothing."""

    columns: frozenset[str] = frozenset()

    def __call__(self, inputs: LossInputs) -> LossSums:
        raise AssertionError("a rank without a model must compute no loss")


class ScriptedLearnerActor(LearnerActor):
    """The real actor around a scripted rank."""

    def _enter_group(self, address: tuple[str, int], ranks: int, device: Any, timeout_s: float) -> ScriptedRank:
        return ScriptedRank()


class PartsWithRanks(FakeParts):
    """The parts of a run whose learner is a group of ranks."""

    def __init__(self, group: LearnerGroup) -> None:
        super().__init__()
        self._group = group

    def build_learner(self, settings: LearnerSettings) -> Any:
        learner = self._group.build(settings)
        usual = learner.step
        # In place of the stage's loss, whose arrival would import torch in every rank.
        learner.step = lambda batch, loss, **options: usual(batch, LossWithoutTensors(), **options)
        return learner

    def recover(self, error: LearnerLostError) -> None:
        super().recover(error)
        self._group.recover(error)
