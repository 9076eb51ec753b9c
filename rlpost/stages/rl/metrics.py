"""The metrics of one RL step: rewards, lengths, ages, agreement of generator and learner, the account of the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from rlpost.engine_records import PublishReport
from rlpost.interfaces import Generator
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import RolloutGroup, Verdict, VersionSpan
from rlpost.rollout.canary import ParityGap
from rlpost.rollout.dynamic_sampling import has_signal
from rlpost.stages.rl.scores import shaped_scores
from rlpost.telemetry.account import Lap, step_account
from rlpost.train_records import StepReport


class RlMetrics:
    """Makes the record of each step; it remembers the earlier totals of the engines."""

    def __init__(self, generator: Generator, stage: GrpoStage | PpoStage) -> None:
        self._generator, self._stage = generator, stage
        self._waited_for_sync = False
        self._tokens, self._busy_s, self._preemptions = self._engine_totals()

    def of_step(
        self,
        groups: Sequence[RolloutGroup],
        reports: Sequence[StepReport],
        synced: PublishReport | None,
        gap: ParityGap | None,
        lap: Lap,
        *,
        scoring_s: float,
        version: int,
    ) -> dict[str, float]:
        """Return the record of one step. `lap` has the parts take, check, credit and publish; `reports` has one entry
        per optimizer step; `scoring_s` is the time that the scorer worked during the step.

        `synced` is the sync that brought the engines to `version`; None while it is in progress.
        """
        return {
            **_of_groups(groups, self._stage),
            **_staleness(groups, version=version),
            **_agreement(gap),
            **_mean_reports(reports),
            **self._of_engines(lap.wall_s),
            **self._account(groups, reports, synced, lap, scoring_s=scoring_s),
        }

    def _of_engines(self, wall_s: float) -> dict[str, float]:
        tokens, busy_s, preemptions = self._engine_totals()
        loads = self._generator.loads()
        metrics = {
            "engines/count": float(len(loads)),
            "engines/busy_share": (busy_s - self._busy_s) / (wall_s * len(loads)) if loads else 0.0,
            "engines/preemptions": float(preemptions - self._preemptions),
            "engines/kv_cache_use": max((load.kv_cache_use for load in loads), default=0.0),
        }
        if busy_s > self._busy_s:
            metrics["tokens_generated_per_s"] = (tokens - self._tokens) / (busy_s - self._busy_s) * max(1, len(loads))
        self._tokens, self._busy_s, self._preemptions = tokens, busy_s, preemptions
        return metrics

    def _account(
        self,
        groups: Sequence[RolloutGroup],
        reports: Sequence[StepReport],
        synced: PublishReport | None,
        lap: Lap,
        *,
        scoring_s: float,
    ) -> dict[str, float]:
        """Account for the learner's time. A synchronous step takes groups while it syncs, generates and scores; any
        other time is a wait, for example for the replacement of a dead engine.
        """
        taken_s = lap.parts_s["take"]
        train_s = sum(report.seconds for report in reports)
        parts = {
            "train": train_s + lap.parts_s["credit"] + lap.parts_s["check"],
            "sync": lap.parts_s.get("publish", 0.0),
        }
        if self._stage.max_staleness == 0:
            # The first sync ends before the first step begins.
            pull_s = min(taken_s, synced.pull_seconds) if synced is not None and self._waited_for_sync else 0.0
            self._waited_for_sync = True
            generate_s = min(taken_s - pull_s, max(episode.seconds for group in groups for episode in group.episodes))
            parts["sync"] += pull_s
            score_s = min(taken_s - pull_s - generate_s, scoring_s)
            parts |= {"generate": generate_s, "score": score_s, "wait": taken_s - pull_s - generate_s - score_s}
        else:
            parts["wait"] = taken_s
        trained = {"tokens_trained_per_s": sum(report.tokens for report in reports) / train_s} if train_s else {}
        sync = {} if synced is None else {"sync_bytes": float(synced.byte_count), "time/sync_wall_s": synced.seconds}
        return {**trained, **sync, **step_account(lap.wall_s, **parts)}

    def _engine_totals(self) -> tuple[int, float, int]:
        loads = self._generator.loads()
        return (
            sum(load.tokens for load in loads),
            sum(load.busy_s for load in loads),
            sum(load.preemptions for load in loads),
        )


def _of_groups(groups: Sequence[RolloutGroup], stage: GrpoStage | PpoStage) -> dict[str, float]:
    episodes = [episode for group in groups for episode in group.episodes]
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    lengths = np.array([episode.trained_count for episode in episodes])
    return {
        "reward": float(np.mean(scores)) if scores else 0.0,
        "groups_with_signal": float(np.mean([has_signal(shaped_scores(group, stage=stage)) for group in groups])),
        "response_tokens": float(lengths.mean()),
        "response_tokens_max": float(lengths.max()),
        "truncated": float(np.mean([episode.finish == "length" for episode in episodes])),
        "samples": float(len(episodes)),
        **_parts(verdicts),
    }


def _parts(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return the mean of each part of the rewards, over the samples for which it ran."""
    values: dict[str, list[float]] = {}
    for verdict in verdicts:
        for name, value in verdict.parts.items():
            values.setdefault(name, []).append(value)
    return {f"rewards/{name}": float(np.mean(found)) for name, found in sorted(values.items())}


def _agreement(gap: ParityGap | None) -> dict[str, float]:
    if gap is None:
        return {}
    return {"parity/relative": gap.relative, "parity/max": gap.maximum, "parity/mean": gap.mean}


def _staleness(groups: Sequence[RolloutGroup], *, version: int) -> dict[str, float]:
    """Return the share of the trained tokens by age in weight versions, and their mean and largest age."""
    tokens: Counter[int] = Counter()
    for group in groups:
        for span in _spans(group):
            tokens[version - span.version] += span.stop - span.start
    total = tokens.total()
    histogram = {f"staleness/{age}": count / total for age, count in sorted(tokens.items())}
    mean = sum(age * count for age, count in tokens.items()) / total
    return {"staleness/mean": mean, "staleness/max": float(max(tokens)), **histogram}


def _spans(group: RolloutGroup) -> Iterator[VersionSpan]:
    for episode in group.episodes:
        for trajectory in episode.trajectories:
            yield from trajectory.version_spans


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
