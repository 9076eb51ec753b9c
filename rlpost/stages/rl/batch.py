"""Turns scored groups into train batches: columns from the learner, an advantage for every token, minibatches.

The tokens that the policy chose in one episode form one sequence here, over all its trajectories: advantages, penalties
and values have shape [T] over them, and are split into trajectories again when rows are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlpost.advantage import advantage_of
from rlpost.advantage.gae import gae, whitened
from rlpost.advantage.kl_penalty import kl_penalty
from rlpost.data.rows import trajectory_row
from rlpost.interfaces import POLICY, REFERENCE, AdvantageFn, GroupScores, Learner
from rlpost.losses.normalisation import denominator, row_weight
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import FloatArray, RolloutGroup, Trajectory
from rlpost.stages.rl.scores import JudgedGroup, judged, scores_of
from rlpost.train_records import TrainBatch, TrainRow, one_component

COMPONENT = "rl"


@dataclass(slots=True)
class CreditedEpisode:
    """One episode on its way into a batch; `columns` have one value for each token that the policy chose."""

    trajectories: tuple[Trajectory, ...]
    token_counts: tuple[int, ...]
    """Tokens that the policy chose, by trajectory."""
    source: str
    is_cut_off: bool
    columns: dict[str, FloatArray] = field(default_factory=dict[str, FloatArray])

    def sampled_logprobs(self) -> FloatArray:
        """Log-probabilities as the generator reported them; shape [T]."""
        return _chosen(self.trajectories, [trajectory.logprobs_T for trajectory in self.trajectories])

    def trajectory_columns(self) -> list[dict[str, FloatArray]]:
        """Return the columns of each trajectory."""
        if len(self.trajectories) == 1:
            return [self.columns]
        cuts = np.cumsum(self.token_counts)[:-1]
        parts = {name: np.split(values_T, cuts) for name, values_T in self.columns.items()}
        return [{name: values[place] for name, values in parts.items()} for place in range(len(self.trajectories))]


class Minibatch(NamedTuple):
    """The batch of one optimizer step."""

    number: int
    """Its index among the optimizer steps that are planned for the same rollouts; one without signal leaves a gap."""
    batch: TrainBatch


def train_batches(
    groups: Sequence[RolloutGroup],
    learner: Learner,
    stage: GrpoStage | PpoStage,
    *,
    columns: frozenset[str],
    advantage: AdvantageFn | None,
    version: int,
    seed: int,
) -> list[Minibatch]:
    """Make one batch per optimizer step: `epochs` passes over `minibatches` parts; a part without any signal is
    skipped.

    The first pass takes the groups in their order, every further one in an order of its own.

    Args:
        groups: The groups of one step.
        learner: Gives the columns that need a forward pass.
        stage: Defines how advantages are computed.
        columns: The columns that the stage's loss reads.
        advantage: Computes the advantages; see `advantage_for`.
        version: Version of the learner's weights, which must not change before this returns.
        seed: Determines, together with the version, the orders of the groups in further passes.
    """
    taking_part = [judged(group) for group in groups]
    episodes_PG = [_episodes(group) for group in taking_part]
    everyone = [episode for episodes in episodes_PG for episode in episodes]
    if not everyone:
        return []
    _look_up_for_credit(everyone, learner, stage)
    _give_credit(taking_part, episodes_PG, stage, advantage)
    size = len(episodes_PG) // stage.minibatches
    parts = [
        [episode for place in order[start : start + size] for episode in episodes_PG[place]]
        for order in _orders(len(episodes_PG), stage, seeds=(seed, version))
        for start in range(0, size * stage.minibatches, size)
    ]
    minibatches: list[Minibatch] = []
    for number, part in enumerate(parts):
        counted = [episode for episode in part if not (stage.mask_truncated and episode.is_cut_off)]
        # An episode without a gradient counts in the denominator, but is not computed.
        computed = [episode for episode in counted if _has_gradient(episode, stage)]
        if not computed:
            continue
        if "proximal_logprobs_T" in columns:
            _look_up_proximal(computed, learner, stage)
        progress = number / optimizer_steps(stage)
        batch = _minibatch(computed, counted, stage, columns=columns, version=version, progress=progress)
        minibatches.append(Minibatch(number, batch))
    return minibatches


def proximal_mix(ages_T: FloatArray, *, progress: float) -> FloatArray:
    """Return the share of the current policy in the log-linear estimate of the proximal one; shape [T].

    Versions are points on a line (AReaL, "proximal log-probability approximation"): a token of age a was sampled a
    updates before the proximal policy, and the current policy is `progress` of an update after it, so the proximal
    policy lies at a / (a + progress) of the way. Before the first update (progress 0), the current policy is the
    proximal one.
    """
    if progress == 0:
        return np.ones_like(ages_T)
    mix_T: FloatArray = (ages_T / (ages_T + progress)).astype(np.float32)
    return mix_T


def advantage_for(stage: GrpoStage | PpoStage) -> AdvantageFn | None:
    """Return the function that computes advantages, loaded once per stage; None if a critic is used instead."""
    return None if stage.group_advantage is None else advantage_of(stage.group_advantage)


def optimizer_steps(stage: GrpoStage | PpoStage) -> int:
    """Return the number of optimizer steps on one batch of rollouts."""
    return stage.minibatches * stage.epochs


def _orders(group_count: int, stage: GrpoStage | PpoStage, *, seeds: tuple[int, int]) -> list[list[int]]:
    """Return the order of the groups in each pass. Mini-batches of a further pass join other groups than before (PPO,
    arXiv 1707.06347, algorithm 1, and its reference code).
    """
    given = list(range(group_count))
    if stage.minibatches == 1:
        return [given] * stage.epochs
    further = [np.random.default_rng([*seeds, number]).permutation(group_count) for number in range(1, stage.epochs)]
    return [given, *(order.tolist() for order in further)]


def token_ages(trajectories: Sequence[Trajectory], version: int) -> FloatArray:
    """Return the number of versions between the weights that sampled each trained token and `version`; shape [T]."""
    spans = [span for trajectory in trajectories for span in trajectory.version_spans]
    ages = np.array([version - span.version for span in spans], np.float32)
    return np.repeat(ages, [span.stop - span.start for span in spans])


def _episodes(group: JudgedGroup) -> list[CreditedEpisode]:
    return [
        CreditedEpisode(
            episode.trajectories,
            token_counts=tuple(trajectory.trained_count for trajectory in episode.trajectories),
            source=f"{group.group.prompt.id}, sample {episode.sample}",
            is_cut_off=episode.finish == "length",
        )
        for episode in group.episodes
    ]


def _chosen(trajectories: Sequence[Trajectory], values: Sequence[FloatArray]) -> FloatArray:
    """Return the values of the tokens that the policy chose, over all trajectories."""
    parts = [values_T[trajectory.trained_T] for trajectory, values_T in zip(trajectories, values, strict=True)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _look_up_for_credit(episodes: Sequence[CreditedEpisode], learner: Learner, stage: GrpoStage | PpoStage) -> None:
    """Fill in the columns from which credit is computed; a forward pass is made only if a column of it is needed."""
    if stage.kl.coefficient > 0:
        _look_up("reference_logprobs_T", episodes, stage, lambda batch: learner.logprobs(batch, of=REFERENCE))
    if stage.critic is not None:
        _look_up("old_values_T", episodes, stage, learner.values)


def _look_up_proximal(episodes: Sequence[CreditedEpisode], learner: Learner, stage: GrpoStage | PpoStage) -> None:
    """Fill in the proximal policy's log-probabilities of the rows of one mini-batch, unless an earlier pass did.

    The rows are those of the optimizer step, in the same order. Rounding depends on the rows that are computed
    together, so a token's ratio before the first update is exactly 1, which GSPO's narrow clip needs in bfloat16.
    """
    new = [episode for episode in episodes if "proximal_logprobs_T" not in episode.columns]
    if new:
        _look_up("proximal_logprobs_T", new, stage, lambda batch: learner.logprobs(batch, of=POLICY))


def _look_up(
    name: str,
    episodes: Sequence[CreditedEpisode],
    stage: GrpoStage | PpoStage,
    look_up: Callable[[TrainBatch], FloatArray],
) -> None:
    trajectories = [trajectory for episode in episodes for trajectory in episode.trajectories]
    whole = TrainBatch.of(
        [trajectory_row(trajectory, weight=1.0) for trajectory in trajectories],
        components=one_component(COMPONENT, 1.0),
        temperature=stage.sampling.temperature,
    )
    values = iter(np.split(look_up(whole), np.cumsum(whole.row_lengths_B)[:-1]))
    for episode in episodes:
        episode.columns[name] = _chosen(episode.trajectories, [next(values) for _ in episode.trajectories])


def _give_credit(
    groups: Sequence[JudgedGroup],
    episodes_PG: Sequence[Sequence[CreditedEpisode]],
    stage: GrpoStage | PpoStage,
    advantage: AdvantageFn | None,
) -> None:
    scores_PG = scores_of(groups, stage)
    if advantage is not None:
        scored = [
            GroupScores(scores_G=scores_G, penalties_GT=[_penalty(episode, stage) for episode in episodes])
            for scores_G, episodes in zip(scores_PG, episodes_PG, strict=True)
        ]
        for episodes, advantages_GT in zip(episodes_PG, advantage(scored), strict=True):
            for episode, advantages_T in zip(episodes, advantages_GT, strict=True):
                episode.columns["advantages_T"] = advantages_T.astype(np.float32)
        return
    config = stage.critic_advantage
    assert config is not None, "a stage without a critic has an advantage of its own"
    advantages: list[NDArray[np.float64]] = []
    for scores_G, episodes in zip(scores_PG, episodes_PG, strict=True):
        for score, episode in zip(scores_G, episodes, strict=True):
            rewards_T = -_penalty(episode, stage)
            rewards_T[-1] += score
            estimate = gae(
                rewards_T,
                episode.columns["old_values_T"].astype(np.float64),
                discount=config.discount,
                trace_decay=config.trace_decay,
            )
            episode.columns["returns_T"] = estimate.returns_T.astype(np.float32)
            advantages.append(estimate.advantages_T)
    if config.whiten:
        advantages = whitened(advantages)
    everyone = [episode for episodes in episodes_PG for episode in episodes]
    for episode, advantages_T in zip(everyone, advantages, strict=True):
        episode.columns["advantages_T"] = advantages_T.astype(np.float32)


def _penalty(episode: CreditedEpisode, stage: GrpoStage | PpoStage) -> NDArray[np.float64]:
    """Return the amount subtracted from the reward of each token for leaving the reference, by the policy that sampled
    it.
    """
    if stage.kl.coefficient == 0 or stage.kl.place == "loss":
        return np.zeros(sum(episode.token_counts), np.float64)
    sampled_T = episode.sampled_logprobs().astype(np.float64)
    reference_T = episode.columns["reference_logprobs_T"].astype(np.float64)
    return stage.kl.coefficient * kl_penalty(stage.kl.estimator, sampled_T, reference_logprobs_T=reference_T)


def _minibatch(
    computed: Sequence[CreditedEpisode],
    counted: Sequence[CreditedEpisode],
    stage: GrpoStage | PpoStage,
    *,
    columns: frozenset[str],
    version: int,
    progress: float,
) -> TrainBatch:
    """Make the batch of one optimizer step, with the rows of `computed` and the denominator of `counted`.

    `progress` is the share of the optimizer steps on this batch of rollouts that come before this one.
    """
    lengths = [length for episode in counted for length in episode.token_counts]
    return TrainBatch.of(
        [
            row
            for episode in computed
            for row in _rows(episode, stage, columns=columns, version=version, progress=progress)
        ],
        components=one_component(
            COMPONENT,
            denominator(
                stage.loss.normalisation,
                token_count=sum(lengths),
                row_count=len(lengths),
                max_tokens=stage.sampling.max_tokens,
            ),
        ),
        temperature=stage.sampling.temperature,
    )


def _rows(
    episode: CreditedEpisode,
    stage: GrpoStage | PpoStage,
    *,
    columns: frozenset[str],
    version: int,
    progress: float,
) -> list[TrainRow]:
    """Make one row per trajectory, with the columns that the loss reads."""
    if "proximal_mix_T" in columns:
        if progress == 0:
            # The current policy is the proximal one, however old the tokens are.
            episode.columns["proximal_mix_T"] = np.ones(sum(episode.token_counts), np.float32)
        else:
            ages_T = token_ages(episode.trajectories, version)
            episode.columns["proximal_mix_T"] = proximal_mix(ages_T, progress=progress)
    return [
        trajectory_row(
            trajectory,
            weight=row_weight(stage.loss.normalisation, length),
            columns={name: values_T for name, values_T in found.items() if name in columns},
            with_sampled_logprobs="behaviour_logprobs_T" in columns,
            source=episode.source,
        )
        for trajectory, length, found in zip(
            episode.trajectories, episode.token_counts, episode.trajectory_columns(), strict=True
        )
    ]


def _has_gradient(episode: CreditedEpisode, stage: GrpoStage | PpoStage) -> bool:
    penalised = stage.kl.coefficient > 0 and stage.kl.place == "loss"
    always = stage.critic is not None or penalised or stage.loss.learns_without_advantage
    return always or bool(episode.columns["advantages_T"].any())
