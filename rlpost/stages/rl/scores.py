"""Turns verdicts into the scores from which advantages are computed: parts, length, truncation, scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage.normalise_then_sum import normalise_then_sum
from rlpost.errors import RewardError
from rlpost.recipe.rl import AdvantageConfig, OverlongConfig
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import Episode, Fault, Mark, RolloutGroup, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedGroup:
    """The episodes of a group that have a score, without those that an infra fault left unjudged."""

    group: RolloutGroup
    episodes: tuple[Episode, ...]
    verdicts: tuple[Verdict, ...]


def judged(group: RolloutGroup) -> JudgedGroup:
    """Return the episodes and verdicts of a group that take part in credit and loss."""
    kept = [pair for pair in zip(group.episodes, group.verdicts, strict=True) if pair[1].fault is not Fault.INFRA]
    return JudgedGroup(
        group=group, episodes=tuple(episode for episode, _ in kept), verdicts=tuple(verdict for _, verdict in kept)
    )


def scores_of(groups: Sequence[JudgedGroup], stage: GrpoStage | PpoStage) -> list[NDArray[np.float64]]:
    """Return one array of shape [G] per group, shaped and scaled as the stage says.

    Raises:
        RewardError: `advantage.parts` names a part that a verdict does not have.
    """
    advantage = stage.group_advantage or AdvantageConfig()
    if advantage.combine == "normalise_then_sum":
        weights_K = np.array(list(advantage.parts.values()), np.float64)
        parts_PGK = [
            np.array([_parts(verdict, advantage.parts) for verdict in group.verdicts], np.float64).reshape(
                len(group.verdicts), len(weights_K)
            )
            for group in groups
        ]
        raw_PG = normalise_then_sum(parts_PGK, weights_K)
    else:
        raw_PG = [np.array([score_of(verdict, advantage.parts) for verdict in group.verdicts]) for group in groups]
    return [_shaped(group, raw_G.astype(np.float64), stage) for group, raw_G in zip(groups, raw_PG, strict=True)]


def shaped_scores(group: RolloutGroup, *, stage: GrpoStage | PpoStage) -> NDArray[np.float64]:
    """Return the scores of one group's judged samples that its advantages are computed from; none if the loss masks all
    of them.
    """
    taking_part = judged(group)
    if stage.mask_truncated and all(episode.finish == "length" for episode in taking_part.episodes):
        return np.empty(0, np.float64)
    return scores_of([taking_part], stage)[0]


def score_of(verdict: Verdict, weights: dict[str, float]) -> float:
    """Return the verdict's own score, or the weighted sum of its parts if `weights` names any."""
    if not weights:
        assert verdict.score is not None, "a verdict without a score is an infra fault"
        return verdict.score
    return fsum(value * weight for value, weight in zip(_parts(verdict, weights), weights.values(), strict=True))


def _parts(verdict: Verdict, weights: dict[str, float]) -> list[float]:
    if Mark.PARTS_MISSING in verdict.marks:
        # A part counts 0, as in the recipe's own sum, if it broke, or if a gate or `when` kept it from running.
        return [verdict.parts.get(name, 0.0) for name in weights]
    if verdict.fault is Fault.POLICY:
        # The floor score of a response that broke its verifier stands for each of the verifier's own parts.
        return [verdict.parts.get(name, verdict.score or 0.0) for name in weights]
    missing = [name for name in weights if name not in verdict.parts]
    if missing:
        raise RewardError(
            f"advantage.parts must name parts that every verdict has; {missing[0]!r} is not among "
            f"{sorted(verdict.parts)} of {verdict.version or 'the verifier'}: correct advantage.parts"
        )
    return [verdict.parts[name] for name in weights]


def _shaped(group: JudgedGroup, scores_G: NDArray[np.float64], stage: GrpoStage | PpoStage) -> NDArray[np.float64]:
    if stage.overlong is not None and len(scores_G):
        lengths_G = np.array([episode.trained_count for episode in group.episodes])
        scores_G = scores_G - overlong_penalty(lengths_G, stage.overlong, max_tokens=stage.sampling.max_tokens)
    scores_G = scores_G * stage.reward_scale
    if stage.truncated_score is not None:
        cut_off_G = np.array([episode.finish == "length" for episode in group.episodes], bool)
        scores_G = np.where(cut_off_G, stage.truncated_score, scores_G)
    return scores_G


def overlong_penalty(lengths_G: NDArray[np.int64], config: OverlongConfig, *, max_tokens: int) -> NDArray[np.float64]:
    """Return 0 up to the buffer, then a linear rise to `factor` at `max_tokens` (DAPO, equation 13).

    DAPO: arXiv 2503.14476.
    """
    buffer_tokens = config.buffer_ratio * max_tokens
    into_buffer_G = (lengths_G - (max_tokens - buffer_tokens)) / buffer_tokens
    return (config.factor * np.clip(into_buffer_G, 0.0, 1.0)).astype(np.float64)
