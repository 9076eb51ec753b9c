"""The records of an RL stage: a line of metrics per step, samples to read, and the progress line."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType

from rlpost.engine_records import PublishReport
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import RolloutGroup
from rlpost.rollout.canary import ParityGap
from rlpost.stages.context import StageContext
from rlpost.stages.rl.metrics import RlMetrics
from rlpost.stages.rl.sampling import Rollouts
from rlpost.stages.samples import SampleLog
from rlpost.telemetry.account import StepClock
from rlpost.telemetry.bottleneck import bottleneck_sentence
from rlpost.telemetry.tracker import read_metrics
from rlpost.train_records import StepReport


class StepLog:
    """Records each step, during a with-block.

    Args:
        context: The stage's folders and console.
        stage: The stage that is recorded.
        rollouts: Source of the fault counts and the scoring time.
        clock: Measures the parts of each step; a lap ends with each record.
        first_step: Records of this and later steps, which a killed run left, are replaced.
    """

    def __init__(
        self,
        context: StageContext,
        stage: GrpoStage | PpoStage,
        rollouts: Rollouts,
        clock: StepClock,
        *,
        first_step: int,
    ) -> None:
        self._context, self._stage, self._rollouts, self._clock = context, stage, rollouts, clock
        self._tracker = context.tracker(first_step=first_step)
        self._samples = SampleLog(context.directory, first_step=first_step)
        self._metrics = RlMetrics(context.parts.generator, stage)
        self._progress = context.console.progress(stage.name, total=stage.steps, done=first_step)

    def __enter__(self) -> StepLog:
        self._shown = self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)
        self._tracker.close()
        self._samples.close()
        if error is None:
            records = read_metrics(self._context.directory / "metrics.jsonl")
            sentence = bottleneck_sentence(records, max_staleness=self._stage.max_staleness)
            self._context.console.say(f"{self._stage.name}: {sentence}")

    def write(
        self,
        step: int,
        groups: Sequence[RolloutGroup],
        reports: Sequence[StepReport | None],
        gap: ParityGap | None,
        synced: Future[PublishReport],
    ) -> None:
        """Record one step. `reports` has None for a skipped optimizer step. `synced` is the sync that gave the engines
        the weights at the beginning of the step; it may still be in progress.
        """
        taken = [report for report in reports if report is not None]
        metrics = self._metrics.of_step(
            groups,
            taken,
            synced.result() if synced.done() else None,
            gap,
            self._clock.lap(),
            scoring_s=self._rollouts.scoring_s(),
            version=step,
        )
        metrics |= self._rollouts.fault_metrics() | {"skipped_steps": float(len(reports) - len(taken))}
        self._tracker.log(step, metrics)
        self._samples.write(step, groups)
        self._shown.step(step + 1, metrics)
