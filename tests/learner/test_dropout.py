"""Dropout acts where a recipe wants it, and nowhere else: the numbers of a training pass are those of an evaluation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_inputs import AdvantageLoss, batch_of, random_rows, settings_of
from tiny_models import BYTE_VOCAB_SIZE
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rlpost.interfaces import POLICY
from rlpost.learner.dropout import without_dropout
from rlpost.learner.local import LocalLearner
from rlpost.losses.off_policy import OffPolicy
from rlpost.losses.policy_loss import PolicyLoss
from rlpost.losses.ppo_clip import PpoClip
from rlpost.losses.preference import PreferenceLoss
from rlpost.settings import CriticSettings
from rlpost.train_records import TrainBatch

SIZES: dict[str, Any] = {
    "vocab_size": BYTE_VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
GPT2 = {"vocab_size": BYTE_VOCAB_SIZE, "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 1}
NOISY: dict[str, dict[str, Any]] = {
    "gpt2": GPT2 | {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5},
    "llama": SIZES | {"attention_dropout": 0.5},
    "phi": SIZES | {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attention_dropout": 0.5},
    "opt": SIZES
    | {"ffn_dim": 32, "word_embed_proj_dim": 32, "dropout": 0.5, "attention_dropout": 0.5, "layerdrop": 0.5},
    "gpt_neox": SIZES | {"hidden_dropout": 0.5, "attention_dropout": 0.5},
    "falcon": SIZES | {"hidden_dropout": 0.5, "attention_dropout": 0.5, "num_kv_heads": 2},
    "bloom": {"vocab_size": BYTE_VOCAB_SIZE, "hidden_size": 32, "n_layer": 2, "n_head": 2}
    | {"hidden_dropout": 0.5, "attention_dropout": 0.5},
    "mixtral": SIZES | {"num_local_experts": 2, "router_jitter_noise": 0.5, "attention_dropout": 0.5},
    "granite": SIZES | {"attention_dropout": 0.5},
}


def model_of(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **NOISY[family]))


@pytest.mark.parametrize("family", NOISY)
def test_without_dropout_a_training_pass_computes_what_evaluation_computes(family: str) -> None:
    model, ids = model_of(family), torch.arange(2, 34)[None]
    with torch.no_grad():
        expected = model.eval()(input_ids=ids, use_cache=False).logits
        noisy = model.train()(input_ids=ids, use_cache=False).logits
        without_dropout(model)
        found = model(input_ids=ids, use_cache=False).logits
    assert not torch.equal(noisy, expected), "the config's dropout acts in training"
    assert model.training and torch.equal(found, expected)


@pytest.fixture(scope="module")
def noisy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("noisy") / "gpt2"
    model_of("gpt2").save_pretrained(directory)
    return directory


def on_policy(learner: LocalLearner) -> TrainBatch:
    """A batch sampled by exactly the learner's own policy."""
    batch = batch_of(random_rows(seed=0))
    logprobs_T = learner.logprobs(batch, of=POLICY)
    columns = {**batch.columns, "behaviour_logprobs_T": logprobs_T, "reference_logprobs_T": logprobs_T}
    return replace(batch, columns=columns)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("dropout", [False, True])
def test_an_on_policy_step_has_ratios_of_one_unless_a_recipe_wants_dropout(
    noisy_dir: Path, mesh: DeviceMesh, dropout: bool, checkpointing: bool
) -> None:
    settings = settings_of(noisy_dir, dropout=dropout, learner={"activation_checkpointing": checkpointing})
    learner = LocalLearner(settings, mesh)
    clipped = PpoClip(clip_low=0.2, clip_high=0.2, dual_clip=None)
    around_behaviour = OffPolicy(proximal="behaviour", correction="none", low=0.0, high=math.inf)
    loss = PolicyLoss(surrogate=clipped, off_policy=around_behaviour, kl=None, value=None)
    metrics = learner.step(on_policy(learner), loss).metrics
    assert (metrics["ratio_max"] > 1.1) == dropout
    assert (metrics["logprob_gap_max"] < 1e-5) == (not dropout)


def test_a_preference_loss_starts_at_log_2_whatever_the_models_dropout_is(noisy_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(noisy_dir), mesh)
    rows = on_policy(learner)
    pairs = replace(rows.rows(range(6)), rows_per_unit=2, components=(replace(rows.components[0], denominator=3.0),))
    report = learner.step(pairs, PreferenceLoss(kind="sigmoid", beta=1.0))
    assert report.loss == pytest.approx(math.log(2), abs=1e-5)


def test_a_critic_is_without_dropout_too(noisy_dir: Path, mesh: DeviceMesh) -> None:
    critic = CriticSettings(model_dir=str(noisy_dir), learning_rate=1e-2)
    learner = LocalLearner(settings_of(noisy_dir, critic=critic), mesh)
    modules = [learner.rank._policy.module, learner.rank._critic.module]  # pyright: ignore - a test looks inside
    rates = [module.p for each in modules for module in each.modules() if isinstance(module, torch.nn.Dropout)]
    assert len(rates) > 10 and set(rates) == {0.0}
    assert np.isfinite(learner.step(on_policy(learner), AdvantageLoss()).loss)


def test_an_exported_model_keeps_the_dropout_of_its_config(noisy_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    LocalLearner(settings_of(noisy_dir), mesh).export(tmp_path / "exported")
    assert AutoConfig.from_pretrained(tmp_path / "exported").attn_pdrop == 0.5
