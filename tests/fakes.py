"""Parts without a model, for tests of control flow: each checks what it is given and answers from seeds alone.

A fake model is a formula (`fake_logprob`), so that a fake generator and a fake learner can agree, or disagree.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fake_generator import SAMPLING, FakeGenerator, fake_logprob, fake_tokens

from rlpost.engine_records import PublishReport, WeightManifest
from rlpost.errors import DamagedWeightsError, LearnerLostError
from rlpost.interfaces import REFERENCE, Learner, LossFn
from rlpost.recipe.rewards import OnFaultsConfig
from rlpost.records import Completion, FloatArray, Message, Prompt, RolloutGroup, Sample, Verdict, VersionSpan
from rlpost.rollout.episodes import single_turn
from rlpost.rollout.faults import CircuitBreaker
from rlpost.settings import LearnerSettings
from rlpost.train_records import StepReport, TrainBatch

# The generator has a file of its own; whoever needs a fake finds all of them here.
__all__ = [
    "SAMPLING",
    "FakeGenerator",
    "FakeLearner",
    "FakeParts",
    "FakeScorer",
    "FakeStore",
    "fake_logprob",
    "fake_tokens",
    "make_group",
    "make_prompt",
    "make_rollout",
    "never_pauses",
    "scored",
]


def make_prompt(number: int, *, dataset: str = "sums", gold: Any = "1") -> Prompt:
    return Prompt(
        id=f"{dataset}/{number}",
        dataset=dataset,
        messages=(Message(role="user", content=f"question {number}"),),
        token_ids=np.array([2 + number % 5, 3], np.int32),
        gold=gold,
        meta={},
    )


def make_rollout(
    *, sample: int, length: int = 2, version: int = 0, key: str = "0:sums/0", text: str | None = None
) -> Completion:
    return Completion(
        key=(key, sample),
        token_ids=np.arange(4, 4 + length, dtype=np.int32),
        logprobs_T=np.full(length, -0.5, np.float32),
        version_spans=(VersionSpan(start=0, stop=length, version=version),),
        finish="stop",
        text=f"answer {sample}" if text is None else text,
        seconds=0.5,
    )


def make_group(
    verdicts: Sequence[Verdict], *, lengths: Sequence[int] | None = None, index: int = 0, version: int = 0
) -> RolloutGroup:
    lengths = [2] * len(verdicts) if lengths is None else lengths
    return RolloutGroup(
        prompt=make_prompt(index),
        index=index,
        episodes=tuple(
            single_turn(make_prompt(index), make_rollout(sample=sample, length=length, version=version))
            for sample, length in enumerate(lengths)
        ),
        verdicts=tuple(verdicts),
    )


def scored(*scores: float) -> list[Verdict]:
    return [Verdict(score=score) for score in scores]


def never_pauses() -> CircuitBreaker:
    """For tests of something else than faults."""
    config = OnFaultsConfig.model_construct(pause_above=1.0, stop_above=1.0, window=200, longest_pause_s=1.0)
    return CircuitBreaker(config, say=print)


class FakeScorer:
    """A `Scorer`: `verdict` judges a sample; `gate`, if given, must be set before any answer comes."""

    def __init__(
        self,
        verdict: Callable[[Sample], Verdict] = lambda sample: Verdict(score=float(len(sample.response) % 2)),
        *,
        gate: threading.Event | None = None,
    ) -> None:
        self.samples: list[Sample] = []
        self.started = threading.Event()
        self._verdict, self._gate = verdict, gate

    def by_group(self, sample: Sample) -> bool:
        return False

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        assert samples, "there is something to score"
        assert len({sample.id for sample in samples}) == len(samples), "ids of samples differ"
        for sample in samples:
            assert sample.prompt and sample.dataset and (sample.token_count > 0 or sample.group == sample.id)
        self.started.set()
        if self._gate is not None:
            assert self._gate.wait(20), "the test never opened the gate"
        self.samples += samples
        return [self._verdict(sample) for sample in samples]


@dataclass
class FakeLearner:
    """A `Learner` whose weights are a number that every step changes in a way that depends on the batch.

    `version_of_logprobs` is what `logprobs` computes with; `None` follows `write_weights`. `raises` maps a method to an
    error that its next call raises. With `slow_disk` a checkpoint is written when somebody waits for it.
    """

    weights: int = 0
    steps: int = 0
    version_of_logprobs: int | None = None
    noise: float = 0.0
    rows_see_each_other: bool = False
    reference_shift: float = 0.25
    slow_disk: bool = False
    raises: dict[str, BaseException] = field(default_factory=dict)
    batches: list[TrainBatch] = field(default_factory=list)
    planned_steps: list[int | None] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _version: int = 0
    _writing: tuple[Path, str] | None = None

    def step(self, batch: TrainBatch, loss: LossFn, *, planned_step: int | None = None) -> StepReport:
        self.planned_steps.append(planned_step)
        self._called("step")
        assert int(batch.row_lengths_B.sum()) == len(batch.token_ids) == len(batch.weights_T)
        assert loss.columns <= batch.columns.keys() and batch.weights_T.any() and callable(loss)
        assert all(np.isfinite(values_T).all() for values_T in batch.columns.values())
        self.batches.append(batch)
        self.weights = (self.weights * 31 + _digest(batch)) % 1_000_003
        self.steps += 1
        return StepReport(
            step=self.steps,
            loss=self.weights / 1_000_003,
            grad_norm=1.0,
            learning_rate=0.1,
            tokens=len(batch.token_ids),
            scored_tokens=int(np.count_nonzero(batch.weights_T)),
            seconds=0.001,
            metrics={},
        )

    def logprobs(self, batch: TrainBatch, *, of: str) -> FloatArray:
        self._called("logprobs")
        version = self._version if self.version_of_logprobs is None else self.version_of_logprobs
        values, start = np.zeros(len(batch.token_ids), np.float32), 0
        for row, length in enumerate(batch.row_lengths_B.tolist()):
            for place in range(start + 1, start + length):
                if batch.weights_T[place]:
                    values[place] = fake_logprob(
                        int(batch.token_ids[place]),
                        before=int(batch.token_ids[place - 1]),
                        version=version,
                        temperature=batch.temperature,
                    )
            if self.rows_see_each_other and row:
                values[start : start + length] *= 3
            start += length
        scored_T = batch.weights_T != 0
        return values + scored_T * (self.noise - self.reference_shift * (of == REFERENCE))

    def values(self, batch: TrainBatch) -> FloatArray:
        self._called("values")
        values_T = ((3 * batch.token_ids + self.weights % 7) % 7).astype(np.float32) / 10
        return np.where(batch.weights_T != 0, values_T, np.float32(0))

    def refresh_reference(self, mix: float) -> None:
        self._called("refresh_reference")
        self.reference_shift *= 1 - mix

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        self._called("write_weights")
        self._version = version
        return WeightManifest(version=version, path=str(path), checksum=str(self.weights), tensor_count=1, byte_count=8)

    def save_checkpoint(self, directory: Path) -> None:
        assert not directory.exists(), f"{directory} must not exist"
        assert self._writing is None, "one save at a time"
        directory.mkdir()
        (directory / "first-half").write_text("x")
        self._called("save_checkpoint")
        self._writing = directory / "state.json", json.dumps([self.weights, self.steps])

    def finish_checkpoint(self, *, wait: bool) -> bool:
        self._called("finish_checkpoint")
        if self._writing is not None and (wait or not self.slow_disk):
            path, content = self._writing
            path.write_text(content)
            self._writing = None
        return self._writing is None

    def load_checkpoint(self, directory: Path) -> None:
        self._called("load_checkpoint")
        self.weights, self.steps = json.loads((directory / "state.json").read_text())

    def export(self, directory: Path) -> None:
        self._called("export")
        assert not directory.exists(), f"{directory} must not exist"
        directory.mkdir()
        (directory / "config.json").write_text("{}")
        (directory / "weights.json").write_text(json.dumps(self.weights))

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method in self.raises:
            raise self.raises.pop(method)


class FakeStore:
    """A `WeightStore` that hands the manifest straight to the generator: what it returns is done already."""

    def __init__(self, generator: FakeGenerator) -> None:
        self._generator = generator
        self.versions: list[int] = []

    def publish(self, learner: Learner, *, version: int, keep_kv_cache: bool) -> Future[PublishReport]:
        manifest = learner.write_weights(Path("nowhere"), version=version)
        receipts = self._generator.pull_weights(manifest, keep_kv_cache=keep_kv_cache)
        self.versions.append(version)
        published: Future[PublishReport] = Future()
        published.set_result(
            PublishReport(
                version=version, byte_count=8, write_seconds=0.001, pull_seconds=0.001, receipts=tuple(receipts)
            )
        )
        return published


class FakeParts:
    """The `Parts` of a run. `raises` maps a stage's place among the built learners to what its learner raises."""

    def __init__(self, *, raises: dict[int, dict[str, BaseException]] | None = None) -> None:
        self.generator = FakeGenerator()
        self.scorer = FakeScorer()
        self.weights = FakeStore(self.generator)
        self.learners: list[FakeLearner] = []
        self.settings: list[LearnerSettings] = []
        self.served: list[Path] = []
        self.prepared: list[Path] = []
        self.recovered: list[str] = []
        self._raises = raises or {}

    def prepare(self, model_dir: Path) -> None:
        self.prepared.append(model_dir)

    def build_learner(self, settings: LearnerSettings) -> FakeLearner:
        assert (Path(settings.model_dir) / "config.json").is_file(), "a stage starts from a model"
        start = hashlib.blake2b(b"".join(_small_files(Path(settings.model_dir))), digest_size=4).digest()
        learner = FakeLearner(weights=int.from_bytes(start, "big"), raises=self._raises.get(len(self.learners), {}))
        self.learners.append(learner)
        self.settings.append(settings)
        return learner

    def recover(self, error: LearnerLostError | DamagedWeightsError) -> None:
        self.recovered.append(str(error))
        self.generator.abandon()

    def serve(self, model_dir: Path) -> None:
        assert (model_dir / "config.json").is_file()
        self.served.append(model_dir)


def _small_files(model_dir: Path) -> list[bytes]:
    names = ("config.json", "weights.json")
    return [(model_dir / name).read_bytes() for name in names if (model_dir / name).is_file()]


def _digest(batch: TrainBatch) -> int:
    columns = (values_T for _, values_T in sorted(batch.columns.items()))
    content = b"".join(array.tobytes() for array in (batch.token_ids, batch.row_lengths_B, batch.weights_T, *columns))
    return int.from_bytes(hashlib.blake2b(content, digest_size=4).digest(), "big")
