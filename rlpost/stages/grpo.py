"""Reinforcement learning with verifiable rewards (GRPO, arXiv 2402.03300): the loop of `interfaces`, top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rlpost.data.batches import BatchPlan
from rlpost.interfaces import Learner
from rlpost.losses.policy_gradient import PolicyGradient
from rlpost.recipe.stages import GrpoStage
from rlpost.records import Prompt, TrainBatch
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.canary import check_parity
from rlpost.rollout.collector import CollectorThread
from rlpost.rollout.faults import refuse_if_nothing_was_judged
from rlpost.stages.context import StageContext
from rlpost.stages.grpo_batch import pack
from rlpost.stages.grpo_metrics import grpo_metrics
from rlpost.stages.samples import SampleLog
from rlpost.telemetry.account import StepClock

_CANARY_SAMPLES = 8


def run_grpo(context: StageContext, stage: GrpoStage) -> None:
    """Sample groups, score them, learn from the scores, and give the engines the new weights, `stage.steps` times."""
    prompts = context.data.prompts(stage.data, stage=stage.name, max_tokens=stage.sampling.max_tokens)
    loss = PolicyGradient(
        clip_low=stage.loss.clip_low, clip_high=stage.loss.clip_high, kl_coefficient=stage.loss.kl_coefficient
    )
    learner = context.build_learner(
        total_steps=stage.steps * stage.minibatches, keep_reference=stage.loss.kl_coefficient > 0
    )
    checkpoints = context.checkpoints(total_steps=stage.steps)
    saved = checkpoints.resume(learner)
    start, first_index = (0, 0) if saved is None else (saved.step, int(saved.state["resume_index"]))
    tracker, samples = context.tracker(first_step=start), SampleLog(context.directory, first_step=start)
    buffer = RolloutBuffer(
        prompts_per_step=stage.prompts_per_step,
        max_staleness=stage.max_staleness,
        version=start,
        first_index=first_index,
    )
    collector = CollectorThread(
        context.collector(
            samples=stage.samples_per_prompt, sampling=stage.sampling.sampling(context.data.format.stop_token_ids)
        ),
        buffer,
        prompt_at=PromptOrder(prompts, stage.prompts_per_step, context.recipe.seed),
    )
    canary = partial(
        check_parity,
        temperature=stage.sampling.temperature,
        tolerance=stage.parity_tolerance,
        dtype=context.recipe.model.dtype,
        samples=_CANARY_SAMPLES,
    )
    context.parts.weights.publish(learner, version=start)
    collector.start()
    clock = StepClock()
    try:
        with context.console.progress(stage.name, total=stage.steps, done=start) as progress:
            for step in range(start, stage.steps):
                with clock.part("take"):
                    groups = buffer.take(stage.prompts_per_step, timeout_s=context.cluster.step_timeout_s)
                refuse_if_nothing_was_judged(groups)
                gap = canary(groups, learner)
                with clock.part("reference"):
                    batches = with_reference(pack(groups, stage), learner, stage)
                reports = [learner.step(batch, loss) for batch in batches]
                sync = context.parts.weights.publish(learner, version=step + 1)
                if step + 1 < stage.steps:
                    buffer.advance(step + 1)
                metrics = grpo_metrics(groups, reports, sync, gap, clock.lap())
                tracker.log(step, metrics | {"quarantined": len(collector.quarantined)})
                samples.write(step, groups)
                # After the records, so that no step that a checkpoint counts is missing in them.
                checkpoints.save_if_due(learner, step=step + 1, state={"resume_index": buffer.resume_index})
                progress.step(step + 1, metrics)
    finally:
        collector.stop()
        tracker.close()
        samples.close()
    learner.export(context.output_dir)


class PromptOrder:
    """Which prompt has which place in the order of issue: shuffled epochs, a pure function of the place."""

    def __init__(self, prompts: Sequence[Prompt], prompts_per_step: int, seed: int) -> None:
        self._prompts, self._size = prompts, prompts_per_step
        self._plan = BatchPlan(row_count=len(prompts), rows_per_step=prompts_per_step, seed=seed)

    def __call__(self, index: int) -> Prompt:
        """The prompt to issue as number `index`, counted from 0."""
        step, place = divmod(index, self._size)
        return self._prompts[int(self._plan.rows_at(step)[place])]


def with_reference(batches: Sequence[TrainBatch], learner: Learner, stage: GrpoStage) -> list[TrainBatch]:
    """Add the reference model's log-probabilities where the loss asks for them."""
    if stage.loss.kl_coefficient == 0:
        return list(batches)
    return [replace(batch, reference_logprobs_T=learner.logprobs(batch, reference=True)) for batch in batches]
