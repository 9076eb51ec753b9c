from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeLearner

from rlpost.data.preference import PreferencePair
from rlpost.interfaces import POLICY
from rlpost.stages import pairs, reference
from rlpost.stages.dpo import with_reference
from rlpost.stages.pairs import pair_batch
from rlpost.stages.reference import ReferenceLogprobs, reference_logprobs
from rlpost.telemetry.console import Console
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


def stored(directory: Path, learner: FakeLearner) -> ReferenceLogprobs:
    return reference_logprobs(
        directory,
        learner,
        name="pairs",
        count=2 * len(PAIRS),
        batch_of=lambda numbers: pair_batch([PAIRS[number // 2] for number in numbers[::2]]),
        console=Console(),
    )


@pytest.mark.parametrize("rows_per_call", [2, 4, 1024])
def test_each_row_gets_its_own_reference_log_probabilities_however_the_calls_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_per_call: int
) -> None:
    monkeypatch.setattr(reference, "_ROWS_PER_CALL", rows_per_call)
    learner = FakeLearner()
    found = stored(tmp_path, learner)
    assert learner.calls == ["logprobs"] * -(-2 * len(PAIRS) // rows_per_call)
    for index, pair in enumerate(PAIRS):
        for before, after in zip(pair, with_reference(pair, found, index), strict=True):
            alone = learner.logprobs(pair_batch([PreferencePair(before, before)]), of=POLICY)
            assert np.array_equal(after.columns["reference_logprobs_T"], alone[: len(before.token_ids)])
            assert after.token_ids is before.token_ids


def test_a_resumed_stage_finds_them_and_half_written_ones_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "writing-reference-pairs").mkdir()
    (tmp_path / "writing-reference-pairs" / "logprobs.bin").write_bytes(b"half of it")
    stored(tmp_path, FakeLearner())
    later = FakeLearner(weights=77)
    found = stored(tmp_path, later)
    assert later.calls == []
    expected = FakeLearner().logprobs(pair_batch(PAIRS[:1]), of=POLICY)[: len(PAIRS[0].chosen.token_ids)]
    assert np.array_equal(found.with_column(PAIRS[0].chosen, 0).columns["reference_logprobs_T"], expected)
    assert [path.name for path in tmp_path.iterdir()] == ["reference-pairs"]


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
