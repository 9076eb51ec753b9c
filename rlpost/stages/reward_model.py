"""A reward model: one score for prompt and response, learnt from preference pairs (Bradley-Terry)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rlpost.data.preference import PreferencePair
from rlpost.errors import DataError
from rlpost.interfaces import Learner
from rlpost.losses.reward_model import RewardModelLoss
from rlpost.recipe.reward_model import ABOVE_CHANCE, PAIR_ACCURACY, errors_above_chance, held_out_pair_count
from rlpost.recipe.stages import RewardModelStage
from rlpost.stages.context import StageContext
from rlpost.stages.pairs import pair_batch, pairs_of_stage
from rlpost.stages.supervised import rows_in_epoch, train_supervised
from rlpost.train_records import TrainBatch, TrainRow

_SCORED_PAIRS_PER_CALL = 512


class SplitPairs(NamedTuple):
    """Pairs to train on, and pairs that the finished model is scored on; no prompt is in both."""

    trained: list[PreferencePair]
    held_out: list[PreferencePair]


def run_reward_model(context: StageContext, stage: RewardModelStage) -> dict[str, float]:
    """Train the scorer and export it as a sequence classifier; return its scores on held-out pairs.

    Raises:
        DataError: there are no pairs, or all are of one prompt.
    """
    split = split_pairs(pairs_of_stage(context, stage).pairs, stage=stage.name, seed=context.recipe.seed)
    trained = [scored_at_end(pair) for pair in split.trained]
    row_ids = [pair.chosen.source for pair in trained]
    steps = stage.step_count(rows_in_epoch(stage, row_ids))
    learner = context.build_learner(total_steps=steps, keep_reference=False)

    def batch_of(indices: Sequence[int]) -> TrainBatch:
        return pair_batch([trained[index] for index in indices])

    train_supervised(
        context,
        learner,
        stage,
        row_ids=row_ids,
        steps=steps,
        batch_of=batch_of,
        loss=RewardModelLoss(),
    )
    count = len(split.held_out)
    accuracy = pair_accuracy([scored_at_end(pair) for pair in split.held_out], learner)
    above = errors_above_chance(accuracy, pair_count=count)
    context.console.say(
        f"{stage.name}: {PAIR_ACCURACY} {accuracy:.4g} on {count} held-out pairs, {above:.1f} standard errors above "
        "chance"
    )
    return {PAIR_ACCURACY: accuracy, ABOVE_CHANCE: above}


def scored_at_end(pair: PreferencePair) -> PreferencePair:
    """The pair with its loss weight on the last token of each row, whose score is the row's."""
    return PreferencePair(chosen=_scored_at_end(pair.chosen), rejected=_scored_at_end(pair.rejected))


def split_pairs(pairs: Sequence[PreferencePair], *, stage: str, seed: int) -> SplitPairs:
    """Keep the pairs of the last prompts of a seeded order out of training: a tenth, and whole prompts only.

    Rows have their weights on the answer, as `pairs_of_stage` makes them.

    Raises:
        DataError: all pairs are of one prompt, so that nothing would be left to train on.
    """
    by_prompt: dict[bytes, list[PreferencePair]] = {}
    for pair in pairs:
        by_prompt.setdefault(_prompt(pair), []).append(pair)
    prompts, wanted = list(by_prompt.values()), held_out_pair_count(len(pairs))
    trained: list[PreferencePair] = []
    held_out: list[PreferencePair] = []
    for place in reversed(np.random.default_rng(seed).permutation(len(prompts)).tolist()):
        (held_out if len(held_out) < wanted else trained).extend(prompts[place])
    if not trained:
        raise DataError(
            f"stage {stage} needs pairs of at least 2 prompts, as those of one are kept out of training; found "
            f"{len(prompts)}: give more data, or raise own_samples.prompts"
        )
    return SplitPairs(trained, held_out)


def pair_accuracy(pairs: Sequence[PreferencePair], learner: Learner) -> float:
    """Share of the pairs (see `scored_at_end`) whose chosen row gets the higher score; equal scores count as wrong."""
    right = 0
    for start in range(0, len(pairs), _SCORED_PAIRS_PER_CALL):
        batch = pair_batch(pairs[start : start + _SCORED_PAIRS_PER_CALL])
        scores_B = learner.values(batch)[np.cumsum(batch.row_lengths_B) - 1]
        right += int(np.count_nonzero(scores_B[0::2] > scores_B[1::2]))
    return right / len(pairs)


def _scored_at_end(row: TrainRow) -> TrainRow:
    weights_T = np.zeros_like(row.weights_T)
    weights_T[-1] = 1
    return replace(row, weights_T=weights_T)


def _prompt(pair: PreferencePair) -> bytes:
    """The tokens before the answer, whose tokens are the first with a weight."""
    return pair.chosen.token_ids[: int(np.argmax(pair.chosen.weights_T > 0))].tobytes()
