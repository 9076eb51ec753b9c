"""The environment of a stage: its inputs, the parts that run it, and its output folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlpost.data.library import DataLibrary
from rlpost.interfaces import Learner, Parts
from rlpost.recipe.rewards import OnFaultsConfig
from rlpost.recipe.schema import ClusterConfig, Recipe
from rlpost.recipe.stages import AnyStage, Role, TrainedStage
from rlpost.records import FloatArray, Prompt, RolloutGroup, Sampling
from rlpost.rollout.collector import Collector, collect_all
from rlpost.rollout.faults import CircuitBreaker
from rlpost.settings import CriticSettings, LearnerSettings
from rlpost.stages.checkpoints import StageCheckpoints
from rlpost.stages.finite_steps import FiniteSteps
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.console import Console
from rlpost.telemetry.tracker import JsonlTracker
from rlpost.train_records import TrainBatch


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One stage of one run."""

    recipe: Recipe
    cluster: ClusterConfig
    stage: AnyStage
    parent_dirs: Mapping[Role, tuple[Path, ...]]
    """Role -> the model directories of the parents with this role."""
    directory: Path
    """The stage's work folder, for checkpoints, metrics, samples."""
    output_dir: Path
    """The folder for the exported model; it does not exist yet."""
    data: DataLibrary
    parts: Parts
    console: Console
    stop: StopRequest

    @property
    def model_dir(self) -> Path:
        """The model that the stage starts from."""
        return self.parent_dirs["start"][0]

    @property
    def seed(self) -> str:
        """A text that distinguishes this run and stage in every derived seed."""
        return f"{self.recipe.seed}/{self.stage.name}"

    @property
    def head(self) -> Literal["language_model", "score"]:
        """The model that the stage's learner trains."""
        return self._trained.head

    @property
    def _trained(self) -> TrainedStage:
        trained = self.stage.training
        assert trained is not None, "only a trained stage has a learner"
        return trained

    def build_learner(
        self,
        *,
        total_steps: int,
        keep_reference: bool,
        critic: CriticSettings | None = None,
    ) -> Learner:
        """Build the learner of this stage, in its initial state."""
        recipe, stage = self.recipe, self._trained
        return self.parts.build_learner(
            LearnerSettings(
                model_dir=str(self.model_dir),
                model_dtype=recipe.model.dtype,
                trust_remote_code=recipe.model.trust_remote_code,
                device=self.cluster.learner.device,
                threads=self.cluster.learner.threads,
                total_steps=total_steps,
                optimizer=stage.optimizer,
                learner=stage.learner,
                lora=stage.lora,
                head=stage.head,
                critic=critic,
                dropout=stage.dropout,
                keep_reference=keep_reference,
                seed=recipe.seed,
                deterministic=recipe.deterministic,
            )
        )

    def critic_settings(self) -> CriticSettings | None:
        """The stage's value model at its start; None where the stage has none."""
        critic = self._trained.critic
        if critic is None:
            return None
        start, *_ = self.parent_dirs.get("critic", (self.model_dir,))
        rate = critic.learning_rate or self._trained.optimizer.learning_rate
        return CriticSettings(model_dir=str(start), learning_rate=rate)

    def checkpoints(self, *, total_steps: int) -> StageCheckpoints:
        """Return the checkpoints of this stage."""
        return StageCheckpoints(
            self.directory / "checkpoints",
            every=self._trained.learner.checkpoint_every,
            keep=self._trained.learner.keep_checkpoints,
            total_steps=total_steps,
            say=self.console.say,
            stop=self.stop,
        )

    def finite_steps(self, learner: Learner, numbers: Callable[[TrainBatch], FloatArray]) -> FiniteSteps:
        """Return the object that takes this stage's optimizer steps; `numbers` gives the learner's outputs for a
        batch.
        """
        most = self._trained.learner.max_skipped_steps
        return FiniteSteps(learner, numbers=numbers, most_in_a_row=most, say=self.console.say)

    def tracker(self, *, first_step: int) -> JsonlTracker:
        """Return the writer of the stage's metrics.jsonl."""
        return JsonlTracker(self.directory / "metrics.jsonl", first_step=first_step)

    def collector(self, *, samples: int, sampling: Sampling) -> Collector:
        """Return a collector, which issues prompts to the engines and scores the responses."""
        return Collector(
            self.parts.generator,
            self.parts.scorer,
            samples=samples,
            sampling=sampling,
            seed=self.seed,
            stall_timeout_s=self.cluster.step_timeout_s,
            breaker=CircuitBreaker(self._on_faults(), say=self.console.say),
        )

    def _on_faults(self) -> OnFaultsConfig:
        """The recipe's thresholds, with pauses limited so that they end before waits for a step time out."""
        config = OnFaultsConfig() if self.recipe.rewards is None else self.recipe.rewards.on_faults
        longest_s = min(config.longest_pause_s, self.cluster.step_timeout_s / 2)
        return config.model_copy(update={"longest_pause_s": longest_s})

    def collect_all(
        self, prompts: Sequence[Prompt], *, samples: int, sampling: Sampling, on_progress: Callable[[int], None]
    ) -> list[RolloutGroup]:
        """Return one scored group per prompt, from the weights that the engines hold.

        Raises:
            PreemptedError: the run was asked to stop; the collected groups will be collected again.
        """
        collector = self.collector(samples=samples, sampling=sampling)

        def progress(done: int) -> None:
            self.stop.raise_if_requested(f"after {done} of {len(prompts)} prompts for {self.stage.name}")
            on_progress(done)

        try:
            return collect_all(prompts, collector, on_progress=progress)
        finally:
            collector.close()
