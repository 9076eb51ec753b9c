"""What one GRPO step did, as numbers: rewards, lengths, agreement of generator and learner, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlpost.records import Fault, PublishReport, RolloutGroup, StepReport
from rlpost.rollout.canary import ParityGap
from rlpost.telemetry.account import Lap, step_account


def grpo_metrics(
    groups: Sequence[RolloutGroup],
    reports: Sequence[StepReport],
    sync: PublishReport,
    gap: ParityGap,
    lap: Lap,
) -> dict[str, float]:
    """`lap` has the parts `take`, the wait for groups, and `reference`; `reports` has one entry a mini-batch."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    lengths = np.array([len(rollout.token_ids) for rollout in rollouts])
    taken_s = lap.parts_s["take"]
    generate_s = min(taken_s, max(rollout.seconds for rollout in rollouts))
    train_s = sum(report.seconds for report in reports)
    return {
        "reward": float(np.mean(scores)) if scores else 0.0,
        "groups_with_signal": float(np.mean([_has_signal(group) for group in groups])),
        "response_tokens": float(lengths.mean()),
        "truncated": float(np.mean([rollout.finish == "length" for rollout in rollouts])),
        **{f"faults/{fault.value}": sum(verdict.fault is fault for verdict in verdicts) for fault in Fault},
        "parity/max": gap.maximum,
        "parity/mean": gap.mean,
        **_mean_reports(reports),
        "tokens_generated_per_s": float(lengths.sum() / generate_s),
        "tokens_trained_per_s": sum(report.tokens for report in reports) / train_s if train_s else 0.0,
        "sync_bytes": sync.byte_count,
        **step_account(
            lap.wall_s,
            generate=generate_s,
            score=taken_s - generate_s,
            train=train_s + lap.parts_s["reference"],
            sync=sync.seconds,
        ),
    }


def _has_signal(group: RolloutGroup) -> bool:
    return len({verdict.score for verdict in group.verdicts if verdict.score is not None}) > 1


def _mean_reports(reports: Sequence[StepReport]) -> dict[str, float]:
    if not reports:
        return {"loss": 0.0, "grad_norm": 0.0}
    metrics = {
        "loss": float(np.mean([report.loss for report in reports])),
        "grad_norm": float(np.mean([report.grad_norm for report in reports])),
        "learning_rate": reports[-1].learning_rate,
    }
    for name in reports[0].metrics:
        values = [report.metrics[name] for report in reports if name in report.metrics]
        metrics[name] = max(values) if name.endswith("_max") else float(np.mean(values))
    return metrics
