"""Held-out evaluation: answers to prompts that no stage trains on, judged by the verifiers of training."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np

from rlpost.errors import GateError
from rlpost.records import Fault, RolloutGroup
from rlpost.score_comparison import exceeds, reaches


class Evaluation(NamedTuple):
    """Scores of one artifact: shares of responses, and means over responses."""

    scores: dict[str, float]
    prompt_count: int


def score_groups(groups: Sequence[RolloutGroup], *, pass_score: float) -> Evaluation:
    """Compute pass@1, pass@k for k = samples per prompt, mean score, share cut off, mean length, and faults if any.

    Responses whose verdict is an infra or gold fault are left out and counted under `unjudged`; pass@k is computed over
    the prompts with k judged responses. A score without any judged response is omitted, because 0 would be misleading.
    """
    judged = [[verdict.score for verdict in group.verdicts if verdict.score is not None] for group in groups]
    episodes = [episode for group in groups for episode in group.episodes]
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    passes = [(len(scores), sum(reaches(score, pass_score) for score in scores)) for scores in judged]
    measured: dict[str, list[float]] = {
        f"pass@{k}": [pass_at_k(samples, passed, k) for samples, passed in passes if samples >= k]
        for k in sorted({1, max(len(group.episodes) for group in groups)})
    }
    measured["mean_score"] = [score for scores in judged for score in scores]
    measured["truncated"] = [float(episode.finish == "length") for episode in episodes]
    measured["mean_tokens"] = [float(episode.trained_count) for episode in episodes]
    scores = {name: float(np.mean(values)) for name, values in measured.items() if values}
    unjudged = sum(verdict.fault in (Fault.INFRA, Fault.GOLD) for verdict in verdicts)
    if unjudged:
        scores["unjudged"] = float(unjudged)
    return Evaluation(scores=scores, prompt_count=len(groups))


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the unbiased probability that one of k samples passes (arXiv 2107.03374, equation 1)."""
    return 1.0 - comb(samples - passed, k) / comb(samples, k)


def check_gate(stage: str, scores: dict[str, float], require: dict[str, str]) -> None:
    """Check the scores against the recipe's bounds.

    Raises:
        GateError: a score is missing or outside its bound.
    """
    for name, bound in require.items():
        sign = bound.strip()[: 2 if "=" in bound else 1]
        limit = float(bound.strip()[len(sign) :])
        found = scores.get(name)
        if found is None:
            raise GateError(f"stage {stage} requires {name} {bound}, and the evaluation gives {', '.join(scores)} only")
        holds = {
            ">=": reaches(found, limit),
            ">": exceeds(found, limit),
            "<=": not exceeds(found, limit),
            "<": not reaches(found, limit),
        }
        if not holds[sign]:
            raise GateError(
                f"stage {stage} must reach {name} {bound} on held-out prompts before the next stage starts; found "
                f"{found:.4f}: train the stage differently, or change stages[{stage}].require"
            )
