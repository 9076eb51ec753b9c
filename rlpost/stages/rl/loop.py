"""Reinforcement learning, GRPO and PPO, synchronous to streaming: the loop of `interfaces`, top to bottom.

What differs between algorithms is data: credit (`batch`), the loss (`losses.policy_loss`) and how old a token may be
when it is trained on (`rollout.buffer`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rlpost.interfaces import POLICY, Learner
from rlpost.losses.policy_loss import PolicyLoss, policy_loss_of
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.stages.context import StageContext
from rlpost.stages.rl.batch import advantage_for, optimizer_steps, train_batches
from rlpost.stages.rl.sampling import Rollouts
from rlpost.stages.rl.step_log import StepLog
from rlpost.telemetry.account import StepClock
from rlpost.telemetry.waits import result_of


def run_rl(context: StageContext, stage: GrpoStage | PpoStage) -> None:
    """Take scored groups, learn from them, and give the engines the new weights, `stage.steps` times."""
    loss = loss_of(stage)
    batches_of = partial(train_batches, columns=loss.columns, advantage=advantage_for(stage), seed=context.recipe.seed)
    learner = _build_learner(context, stage)
    checkpoints = context.checkpoints(total_steps=stage.steps)
    saved = checkpoints.resume(learner)
    start = 0 if saved is None else saved.step
    rollouts = Rollouts(context, stage, version=start, state=None if saved is None else saved.state)
    if stage.lora is not None and stage.lora.sync == "adapter":
        # An adapter comes on top of the weights that engines hold: these must be the weights below the learner's.
        context.parts.serve(context.model_dir)
    publish = partial(context.parts.weights.publish, learner, keep_kv_cache=stage.kv_cache_on_update == "keep")
    publishing = publish(version=start)
    started_s = context.cluster.start_timeout_s + context.cluster.step_timeout_s
    result_of(publishing, "the first weights at every engine", timeout_s=started_s)
    finite = context.finite_steps(learner, partial(learner.logprobs, of=POLICY))
    clock = StepClock()
    take, check = clock.timed("take", rollouts.take), clock.timed("check", rollouts.check_parity)
    credit, publish = clock.timed("credit", batches_of), clock.timed("publish", publish)
    with checkpoints, rollouts, StepLog(context, stage, rollouts, clock, first_step=start) as log:
        for step in range(start, stage.steps):
            groups = take(version=step)
            gap = check(groups, learner, publishing, version=step)
            minibatches = credit(groups, learner, stage, version=step)
            planned = step * optimizer_steps(stage)
            reports = [finite.step(batch, loss, planned_step=planned + number) for number, batch in minibatches]
            synced = publishing
            if step + 1 < stage.steps:
                publishing = publish(version=step + 1)
                rollouts.on_published(publishing, version=step + 1)
            _refresh_reference(learner, stage, step)
            log.write(step, groups, reports, gap, synced)
            # The checkpoint comes after the records, so that every step that it counts is in them.
            checkpoints.save_if_due(learner, step=step + 1, state=rollouts.state())
    finite.end()
    learner.export(context.output_dir)


def loss_of(stage: GrpoStage | PpoStage) -> PolicyLoss:
    """Return the stage's loss. With one optimizer step per batch, the proximal policy is the current one, without a
    forward pass.
    """
    loss = policy_loss_of(stage)
    if stage.off_policy.proximal == "recompute" and optimizer_steps(stage) == 1:
        return replace(loss, off_policy=replace(loss.off_policy, proximal="current"))
    return loss


def _build_learner(context: StageContext, stage: GrpoStage | PpoStage) -> Learner:
    return context.build_learner(
        total_steps=stage.steps * optimizer_steps(stage),
        keep_reference=stage.keeps_reference,
        critic=context.critic_settings(),
    )


def _refresh_reference(learner: Learner, stage: GrpoStage | PpoStage, step: int) -> None:
    if stage.kl.refresh_every is not None and (step + 1) % stage.kl.refresh_every == 0:
        learner.refresh_reference(stage.kl.refresh_mix)
