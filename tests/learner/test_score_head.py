# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""A learner with a score head: a reward model whose artifact is a sequence classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_inputs import batch_of, random_rows, relative_distance, same_bits, save_whole, settings_of, whole_weights
from learner_ranks import run_on_ranks
from tiny_models import BYTE_VOCAB_SIZE, EOS_ID, PAD_ID, byte_tokenizer, save_tiny_model
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModelForSequenceClassification

from rlpost.errors import ModelError, RecipeError
from rlpost.learner.local import LocalLearner
from rlpost.losses.reward_model import RewardModelLoss
from rlpost.recipe.sections import LoraConfig
from rlpost.records import FloatArray
from rlpost.train_records import TrainBatch, TrainRow, one_component

LENGTHS = (17, 5, 40, 9, 23, 2)
"""Three pairs, chosen before rejected."""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("score") / "model", tied=True, seed=7, heads=4)


def pairs(*, seed: int) -> TrainBatch:
    """Every row ends with the end of text, as answers do, and only this token carries a weight."""
    rows = [
        replace(row, weights_T=last_only(row), token_ids=np.append(row.token_ids[:-1], np.int32(EOS_ID)))
        for row in random_rows(seed=seed, lengths=LENGTHS)
    ]
    return replace(batch_of(rows, rows_per_unit=2), components=one_component("pairs", len(rows) / 2))


def last_only(row: TrainRow) -> FloatArray:
    return (np.arange(len(row.token_ids)) == len(row.token_ids) - 1).astype(np.float32)


def scores_of(learner: LocalLearner, batch: TrainBatch) -> FloatArray:
    return learner.values(batch)[np.cumsum(batch.row_lengths_B) - 1]


def trained(model_dir: Path, mesh: DeviceMesh, *, steps: int = 3, **changes: Any) -> LocalLearner:
    settings = settings_of(model_dir, head="score", optimizer={"learning_rate": 1e-2}, **changes)
    learner = LocalLearner(settings, mesh)
    for _ in range(steps):
        learner.step(pairs(seed=0), RewardModelLoss())
    return learner


def test_a_new_score_head_gives_every_row_zero_and_learns_from_there(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = trained(model_dir, mesh, steps=0)
    batch = pairs(seed=0)
    assert not scores_of(learner, batch).any()
    reports = [learner.step(batch, RewardModelLoss()) for _ in range(8)]
    assert reports[0].loss == pytest.approx(np.log(2), rel=1e-6)
    assert reports[0].grad_norm > 0
    assert reports[-1].loss < 0.1
    scores = scores_of(learner, batch)
    assert (scores[0::2] > scores[1::2]).all()
    assert np.count_nonzero(learner.values(batch)) == len(LENGTHS)


@pytest.mark.parametrize(
    ("named", "of_tokenizer", "vocab_size", "padding"),
    [
        (PAD_ID, True, BYTE_VOCAB_SIZE, PAD_ID),
        (None, True, BYTE_VOCAB_SIZE, PAD_ID),
        (EOS_ID, True, BYTE_VOCAB_SIZE, PAD_ID),
        (EOS_ID, False, BYTE_VOCAB_SIZE + 6, BYTE_VOCAB_SIZE + 5),
        (EOS_ID, False, BYTE_VOCAB_SIZE, None),
        (None, False, BYTE_VOCAB_SIZE, None),
    ],
)
def test_the_artifact_scores_rows_as_training_did_padded_or_one_by_one(
    mesh: DeviceMesh, tmp_path: Path, named: int | None, of_tokenizer: bool, vocab_size: int, padding: int | None
) -> None:
    start_dir = save_tiny_model(tmp_path / "start", tied=False, seed=7, heads=4, vocab_size=vocab_size)
    config = json.loads((start_dir / "config.json").read_text())
    (start_dir / "config.json").write_text(json.dumps(config | {"pad_token_id": named}))
    if not of_tokenizer:
        tokenizer = byte_tokenizer()
        tokenizer.pad_token = None
        tokenizer.save_pretrained(start_dir)
    learner = trained(start_dir, mesh)
    learner.export(tmp_path / "model")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    assert type(loaded).__name__ == "Qwen3ForSequenceClassification"
    assert (loaded.config.num_labels, loaded.config.pad_token_id) == (1, padding)
    batch = pairs(seed=3)
    rows = torch.split(torch.from_numpy(batch.token_ids).long(), batch.row_lengths_B.tolist())
    with torch.no_grad():
        if padding is None:
            expected = torch.cat([loaded(input_ids=row[None]).logits[:, 0] for row in rows]).numpy()
        else:
            ids = pad_sequence(list(rows), batch_first=True, padding_value=padding)
            expected = loaded(input_ids=ids, attention_mask=(ids != padding).long()).logits[:, 0].numpy()
    assert np.abs(expected).max() > 0.1
    assert np.abs(scores_of(learner, batch) - expected).max() <= 1e-5


def test_a_classifier_goes_on_from_its_own_head(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    learner = trained(model_dir, mesh)
    learner.export(tmp_path / "model")
    again = trained(tmp_path / "model", mesh, steps=0)
    assert same_bits(whole_weights(again), whole_weights(learner))
    assert np.array_equal(again.values(pairs(seed=1)), learner.values(pairs(seed=1)))


def test_bfloat16_scores_are_near_float32_and_finer_than_bfloat16(model_dir: Path, mesh: DeviceMesh) -> None:
    learners = [trained(model_dir, mesh, learner={"compute_dtype": name}) for name in ("float32", "bfloat16")]
    exact, rounded = (scores_of(learner, pairs(seed=0)) for learner in learners)
    assert np.abs(exact - rounded).max() <= 0.05 * np.abs(exact).max()
    assert not torch.equal(torch.from_numpy(rounded).bfloat16().float(), torch.from_numpy(rounded))


def test_a_classifier_with_several_labels_is_refused(mesh: DeviceMesh, tmp_path: Path) -> None:
    start = save_tiny_model(tmp_path / "start", tied=True, seed=0)
    config = AutoConfig.from_pretrained(start, num_labels=3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "classifier")
    with pytest.raises(ModelError, match=r"must have one label, its score; .* has 3"):
        trained(tmp_path / "classifier", mesh)


def test_a_model_without_a_score_head_is_refused(mesh: DeviceMesh, tmp_path: Path) -> None:
    shape = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("modernbert-decoder", **shape, intermediate_size=16, num_labels=1, pad_token_id=0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has none: choose a decoder-only model"):
        trained(tmp_path, mesh)


def test_an_adapter_on_a_reward_model_is_refused(model_dir: Path, mesh: DeviceMesh) -> None:
    with pytest.raises(RecipeError, match="remove lora"):
        trained(model_dir, mesh, lora=LoraConfig(rank=2, alpha=2))


def weights_after_training(mesh: DeviceMesh, model_dir: Path, directory: Path) -> dict[str, Tensor]:
    learner = trained(model_dir, mesh)
    save_whole(learner, directory)
    resumed = trained(model_dir, mesh, steps=0)
    resumed.load_checkpoint(directory)
    for each in (learner, resumed):
        each.step(pairs(seed=4), RewardModelLoss())
    assert same_bits(whole_weights(resumed), whole_weights(learner))
    return whole_weights(learner)


def test_ranks_agree_on_a_reward_model_and_a_resumed_one_goes_on_bit_for_bit(model_dir: Path, tmp_path: Path) -> None:
    one, three = (
        run_on_ranks(weights_after_training, model_dir, tmp_path / str(ranks), ranks=ranks) for ranks in (1, 3)
    )
    assert relative_distance(three, one) <= 1e-4
