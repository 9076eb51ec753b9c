from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeLearner

from rlpost.data.preference import PreferencePair
from rlpost.errors import DataError
from rlpost.recipe.reward_model import errors_above_chance
from rlpost.records import FloatArray
from rlpost.stages import reward_model
from rlpost.stages.reward_model import pair_accuracy, scored_at_end, split_pairs
from rlpost.train_records import TrainBatch, TrainRow


def row(prompt: list[int], answer: list[int]) -> TrainRow:
    weights = np.array([0] * len(prompt) + [1] * len(answer), np.float32)
    return TrainRow(token_ids=np.array(prompt + answer, np.int32), weights_T=weights)


def pair(prompt: list[int], chosen: list[int], rejected: list[int]) -> PreferencePair:
    return PreferencePair(chosen=row(prompt, chosen), rejected=row(prompt, rejected))


def pairs_of_prompts(count: int, *, each: int = 1) -> list[PreferencePair]:
    return [pair([2, 5, number], [7, answer], [7]) for number in range(count) for answer in range(each)]


def prompts(pairs: list[PreferencePair]) -> list[int]:
    return [int(one.chosen.token_ids[2]) for one in pairs]


class LastTokenScores(FakeLearner):
    """The score of a row is its last token."""

    def values(self, batch: TrainBatch) -> FloatArray:
        self._called("values")
        return np.where(batch.weights_T != 0, batch.token_ids, 0).astype(np.float32)


@pytest.mark.parametrize(
    ("accuracy", "count", "above"), [(0.5, 100, 0.0), (0.6, 100, 2.0), (0.6, 400, 4.0), (0.4, 25, -1.0)]
)
def test_a_score_is_measured_in_standard_errors_of_guesses(accuracy: float, count: int, above: float) -> None:
    assert errors_above_chance(accuracy, pair_count=count) == pytest.approx(above)


def test_only_the_last_token_of_each_row_carries_weight() -> None:
    scored = scored_at_end(pair([2, 3], [4, 5], [6]))
    assert scored.chosen.weights_T.tolist() == [0, 0, 0, 1]
    assert scored.rejected.weights_T.tolist() == [0, 0, 1]
    assert scored.chosen.token_ids.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (19, 1), (20, 2), (200, 20), (6000, 512)])
def test_a_tenth_of_the_pairs_is_held_out_but_never_more_than_512(count: int, held_out: int) -> None:
    split = split_pairs(pairs_of_prompts(count), stage="reward", seed=0)
    assert len(split.held_out) == held_out
    assert sorted(prompts(split.trained) + prompts(split.held_out)) == list(range(count))


def test_no_prompt_is_both_trained_on_and_held_out() -> None:
    split = split_pairs(pairs_of_prompts(30, each=3), stage="reward", seed=1)
    assert not set(prompts(split.trained)) & set(prompts(split.held_out))
    assert (len(split.trained), len(split.held_out)) == (81, 9)


def test_what_is_held_out_depends_on_the_seed_alone() -> None:
    pairs = pairs_of_prompts(50)
    chosen = [prompts(split_pairs(pairs, stage="reward", seed=seed).held_out) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_pairs_of_one_prompt_alone_are_refused() -> None:
    with pytest.raises(DataError, match=r"stage reward needs pairs of at least 2 prompts, .* found 1"):
        split_pairs(pairs_of_prompts(1, each=5), stage="reward", seed=0)


def test_accuracy_is_the_share_of_pairs_in_order_and_a_tie_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [
        scored_at_end(pair([2], chosen, rejected))
        for chosen, rejected in (([9], [4, 5]), ([3, 8], [1]), ([4], [6]), ([7, 5], [5]), ([1, 1, 2], [1]))
    ]
    learner = LastTokenScores()
    assert pair_accuracy(pairs, learner) == pytest.approx(3 / 5)
    monkeypatch.setattr(reward_model, "_SCORED_PAIRS_PER_CALL", 2)
    assert pair_accuracy(pairs, learner) == pytest.approx(3 / 5)
    assert learner.calls == ["values"] * 4
