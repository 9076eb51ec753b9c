"""Preference pairs: given ones, or pairs from the model's own judged samples (TULU 3, arXiv 2411.15124, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rlpost.data.rows import trajectory_row
from rlpost.records import Episode, RolloutGroup
from rlpost.score_comparison import exceeds, reaches
from rlpost.train_records import TrainRow


class PreferencePair(NamedTuple):
    """Two answers to one prompt; weight 1 on the tokens of each answer."""

    chosen: TrainRow
    rejected: TrainRow


class PreferencePairs(NamedTuple):
    """Pairs, and the number of examples or prompts that gave none."""

    pairs: list[PreferencePair]
    dropped: int

    @property
    def row_ids(self) -> list[str]:
        """The example or sample that each chosen answer is from; it begins with the name of the data set."""
        return [pair.chosen.source for pair in self.pairs]


def pairs_from_samples(groups: Sequence[RolloutGroup], *, pairs_per_prompt: int, seed: int) -> PreferencePairs:
    """Make up to `pairs_per_prompt` pairs from each prompt's samples, one with the highest score and one with the
    lowest. The better one is chosen among those that ended by themselves; a response that was cut off may only be the
    worse one.

    The choice is drawn from (seed, index of the group), so it does not depend on the order of the groups; no pair is
    repeated. Samples with a fault are left out, and equal texts count once. Rows keep the sampled tokens. A prompt
    whose samples all have the same score, or none of whose better ones ended, gives no pair and is counted as dropped.
    """
    pairs: list[PreferencePair] = []
    dropped = 0
    for group in groups:
        found = _pairs_of(group, count=pairs_per_prompt, rng=np.random.default_rng([seed, group.index]))
        pairs += found
        dropped += not found
    return PreferencePairs(pairs=pairs, dropped=dropped)


def _pairs_of(group: RolloutGroup, *, count: int, rng: np.random.Generator) -> list[PreferencePair]:
    scored = _scored_samples(group)
    lowest = min((score for score, _ in scored), default=0.0)
    # A response without its end must not be chosen: it would teach the model never to end.
    finished = [(score, episode) for score, episode in scored if episode.finish == "stop"]
    highest = max((score for score, _ in finished), default=lowest)
    if not exceeds(highest, lowest):
        return []
    best = [episode for score, episode in finished if reaches(score, highest)]
    worst = [episode for score, episode in scored if not exceeds(score, lowest)]
    combinations: list[int] = rng.permutation(len(best) * len(worst))[:count].tolist()
    return [
        PreferencePair(chosen=_row(group, best[index // len(worst)]), rejected=_row(group, worst[index % len(worst)]))
        for index in combinations
    ]


def _scored_samples(group: RolloutGroup) -> list[tuple[float, Episode]]:
    """Return (score, sample) of valid samples, one of each text: the first that ended, or else the first."""
    by_text: dict[str, tuple[float, Episode]] = {}
    for episode, verdict in zip(group.episodes, group.verdicts, strict=True):
        if verdict.fault is None and verdict.score is not None:
            known = by_text.setdefault(episode.response, (verdict.score, episode))
            if known[1].finish != "stop" == episode.finish:
                by_text[episode.response] = (verdict.score, episode)
    return list(by_text.values())


def _row(group: RolloutGroup, episode: Episode) -> TrainRow:
    """Make a row of an episode's last trajectory, which contains the whole episode unless a template rewrote the
    history.
    """
    source = f"{group.prompt.id}, sample {episode.sample}"
    return trajectory_row(episode.trajectories[-1], weight=1.0, source=source)
