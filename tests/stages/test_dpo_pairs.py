from __future__ import annotations

from pathlib import Path

import numpy as np
from fakes import FakeLearner

from rlpost.data.preference import PreferencePair
from rlpost.interfaces import POLICY
from rlpost.stages import dpo, pairs
from rlpost.stages.dpo import with_reference
from rlpost.stages.pairs import pair_batch
from rlpost.train_records import TrainRow


def row(*token_ids: int, prompt: int = 1) -> TrainRow:
    weights = np.ones(len(token_ids), np.float32)
    weights[:prompt] = 0
    return TrainRow(token_ids=np.array(token_ids, np.int32), weights_T=weights)


PAIRS = [
    PreferencePair(chosen=row(2, 4, 5), rejected=row(2, 6)),
    PreferencePair(chosen=row(3, 9), rejected=row(3, 7, 8, 9, prompt=2)),
    PreferencePair(chosen=row(2, 5, 5, 5), rejected=row(2, 4, 4)),
]


def test_a_batch_has_chosen_and_rejected_as_neighbours_and_counts_pairs() -> None:
    batch = pair_batch(PAIRS[:2])
    assert batch.token_ids.tolist() == [2, 4, 5, 2, 6, 3, 9, 3, 7, 8, 9]
    assert batch.row_lengths_B.tolist() == [3, 2, 2, 4]
    assert (batch.rows_per_unit, batch.components[0].denominator) == (2, 2.0)


def test_each_row_gets_its_own_reference_log_probabilities_however_the_calls_are_cut(monkeypatch) -> None:
    learner = FakeLearner()
    whole = with_reference(PAIRS, learner)
    assert learner.calls == ["logprobs"]
    for pair, known in zip(PAIRS, whole, strict=True):
        for before, after in zip(pair, known, strict=True):
            alone = learner.logprobs(pair_batch([PreferencePair(before, before)]), of=POLICY)
            assert np.array_equal(after.columns["reference_logprobs_T"], alone[: len(before.token_ids)])
            assert after.token_ids is before.token_ids
    monkeypatch.setattr(dpo, "_REFERENCE_PAIRS_PER_CALL", 2)
    for one, other in zip(whole, with_reference(PAIRS, FakeLearner()), strict=True):
        assert np.array_equal(one.chosen.columns["reference_logprobs_T"], other.chosen.columns["reference_logprobs_T"])
        assert np.array_equal(
            one.rejected.columns["reference_logprobs_T"], other.rejected.columns["reference_logprobs_T"]
        )


def test_pairs_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    pairs._write_pairs(tmp_path / "pairs.npz", PAIRS)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.npz"]
    read = pairs._read_pairs(tmp_path / "pairs.npz")
    assert len(read) == len(PAIRS)
    for pair, same in zip(PAIRS, read, strict=True):
        for before, after in zip(pair, same, strict=True):
            assert after.token_ids.tolist() == before.token_ids.tolist()
            assert after.weights_T.tolist() == before.weights_T.tolist()
            assert (after.token_ids.dtype, after.weights_T.dtype) == (np.int32, np.float32)
