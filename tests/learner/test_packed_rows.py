# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""Rows packed into one forward pass give what each gives alone, and what plain transformers gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_inputs import AdvantageLoss, batch_of, gradient_of, random_batch, random_rows, settings_of
from tiny_models import PAD_ID, save_tiny_model
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rlpost.interfaces import POLICY
from rlpost.learner.attention import Segments, segment_attention
from rlpost.learner.local import LocalLearner
from rlpost.records import FloatArray
from rlpost.settings import LearnerSettings
from rlpost.train_records import TrainBatch

LOGPROB_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-5
"""Relative to the norm of the gradient of the same weight."""

# One head is plain attention, four heads share two key-value heads.
MODELS = [("qwen3", True, 4), ("qwen3", False, 1), ("llama", True, 1), ("llama", False, 4)]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: f"{model[0]}-{'tied' if model[1] else 'untied'}")
def model_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, tied, heads = request.param
    directory = tmp_path_factory.mktemp("packed") / "model"
    return save_tiny_model(directory, tied=tied, seed=1, family=family, heads=heads)


def padded_logprobs(model: PreTrainedModel, batch: TrainBatch) -> Tensor:
    """Of every token of the batch, 0 for the first of each row; a padded batch through transformers' own attention."""
    rows = torch.split(torch.from_numpy(batch.token_ids).long(), batch.row_lengths_B.tolist())
    padded = pad_sequence(list(rows), batch_first=True, padding_value=PAD_ID)
    is_token = torch.arange(padded.shape[1])[None] < torch.from_numpy(batch.row_lengths_B)[:, None]
    logits = model(input_ids=padded, attention_mask=is_token.long()).logits.float() / batch.temperature
    logprobs = logits[:, :-1].log_softmax(-1).gather(2, padded[:, 1:, None]).squeeze(2)
    with_first = torch.cat([torch.zeros(len(rows), 1), logprobs], dim=1)
    return with_first[is_token]


def transformers_model(model_dir: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="sdpa")


def expected_logprobs(model_dir: Path, batch: TrainBatch) -> FloatArray:
    with torch.no_grad():
        logprobs = padded_logprobs(transformers_model(model_dir), batch).numpy()
    return np.where(batch.weights_T != 0, logprobs, 0).astype(np.float32)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_those_of_padded_transformers(model_dir: Path, mesh: DeviceMesh, temperature: float) -> None:
    learner = LocalLearner(settings_of(model_dir), mesh)
    batch = random_batch(seed=0, temperature=temperature)
    found, expected = learner.logprobs(batch, of=POLICY), expected_logprobs(model_dir, batch)
    assert np.abs(expected).max() > 1
    assert np.abs(found - expected).max() <= LOGPROB_TOLERANCE


def test_rows_packed_together_equal_each_row_alone(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir), mesh)
    rows = random_rows(seed=1)
    packed = learner.logprobs(batch_of(rows), of=POLICY)
    alone = np.concatenate([learner.logprobs(batch_of([row]), of=POLICY) for row in rows])
    assert np.abs(packed - alone).max() <= LOGPROB_TOLERANCE


def test_a_row_does_not_see_the_others(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir), mesh)
    rows = random_rows(seed=2)
    changed = [*random_rows(seed=3)[:1], *rows[1:]]
    before, after = (learner.logprobs(batch_of(some), of=POLICY) for some in (rows, changed))
    first = len(rows[0].token_ids)
    assert not np.array_equal(before[:first], after[:first])
    assert np.array_equal(before[first:], after[first:])


def test_the_gradient_equals_that_of_padded_transformers(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = LocalLearner(settings_of(model_dir), mesh)
    batch = random_batch(seed=4)
    found = gradient_of(learner, batch, AdvantageLoss())

    model = transformers_model(model_dir)
    credit_T = torch.from_numpy(batch.weights_T * batch.columns["advantages_T"])
    (-(credit_T * padded_logprobs(model, batch)).sum() / batch.components[0].denominator).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.norm() > 0, name
        assert (found[name] - weight.grad).norm() <= GRADIENT_TOLERANCE * weight.grad.norm(), name


def test_logprobs_are_zero_where_the_weight_is_zero(mesh: DeviceMesh, model_dir: Path) -> None:
    batch = random_batch(seed=5)
    logprobs = LocalLearner(settings_of(model_dir), mesh).logprobs(batch, of=POLICY)
    assert np.array_equal(logprobs != 0, batch.weights_T != 0)


def with_config(model_dir: Path, directory: Path, **changes: object) -> LearnerSettings:
    config = AutoConfig.from_pretrained(model_dir)
    for name, value in changes.items():
        assert hasattr(config, name)
        setattr(config, name, value)
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    return settings_of(directory)


def test_logprobs_are_taken_without_dropout_and_training_goes_on_with_it(
    mesh: DeviceMesh, model_dir: Path, tmp_path: Path
) -> None:
    settings = with_config(model_dir, tmp_path / "dropout", attention_dropout=0.5)
    learner = LocalLearner(replace(settings, dropout=True), mesh)
    batch = random_batch(seed=6)
    first = learner.logprobs(batch, of=POLICY)
    assert np.array_equal(first, learner.logprobs(batch, of=POLICY))
    assert np.abs(first - expected_logprobs(tmp_path / "dropout", batch)).max() <= LOGPROB_TOLERANCE
    assert learner.rank._policy.module.training


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [(9, 9, 9), (1,), (40, 9, 300, 12, 41, 1, 25)], ids=["equal", "one", "mixed"])
def test_rows_that_share_a_call_attend_as_each_alone(lengths: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    # As a model's projections give them: heads inside tokens, two heads on one key and value head.
    tokens_first = [torch.randn(1, sum(lengths), heads, 16, generator=generator).to(dtype) for heads in (2, 1, 1)]
    credit = torch.randn(1, sum(lengths), 2, 16, generator=generator)
    results: list[list[Tensor]] = []
    for function in (together, one_by_one):
        inputs = [tensor.clone().transpose(1, 2).requires_grad_() for tensor in tokens_first]
        output = function(inputs, lengths)
        gradients = torch.autograd.grad((output.float() * credit).sum(), inputs)
        results.append([output, *gradients])
    for found, expected in zip(*results, strict=True):
        assert found.dtype == dtype
        assert found.shape == expected.shape
        assert (found - expected).norm() <= (1e-6 if dtype == torch.float32 else 1e-2) * expected.norm() + 1e-6


def together(inputs: list[Tensor], lengths: tuple[int, ...]) -> Tensor:
    segments = Segments.of(lengths, inputs[0].device)
    return segment_attention(torch.nn.Module(), *inputs, None, segments=segments, scaling=0.3)[0]  # pyright: ignore[reportCallIssue] - the inputs are unpacked


def one_by_one(inputs: list[Tensor], lengths: tuple[int, ...]) -> Tensor:
    rows = zip(*(tensor.split(list(lengths), dim=2) for tensor in inputs), strict=True)
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(*row, is_causal=True, scale=0.3, enable_gqa=True)
        for row in rows
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2)


def test_rows_share_a_call_with_rows_of_nearly_their_length() -> None:
    lengths = (40, 9, 300, 24, 41, 1, 25)
    groups = Segments.of(lengths, torch.device("cpu")).groups
    assert [(group.rows, group.width) for group in groups] == [(1, 300), (3, 41), (2, 24), (1, 1)]
    assert [(group.rows, group.width) for group in Segments.of((7,) * 64, torch.device("cpu")).groups] == [(64, 7)]


@pytest.mark.parametrize(
    ("lengths", "window"),
    [
        ((40, 9, 300, 12, 41, 1, 25), 1),
        ((40, 9, 300, 12, 41, 1, 25), 24),
        ((9, 9, 9), 8),
        ((1100, 3), 16),
        ((1100, 3), 600),
    ],
)
def test_a_window_lets_each_token_see_itself_and_those_just_before_it(lengths: tuple[int, ...], window: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, heads, sum(lengths), 16, generator=generator).requires_grad_() for heads in (2, 1, 1)]
    credit = torch.randn(1, sum(lengths), 2, 16, generator=generator)
    options: dict[str, Any] = {"segments": Segments.of(lengths, credit.device), "scaling": 0.3}
    found = segment_attention(torch.nn.Module(), *inputs, torch.tensor(window), **options)[0]  # pyright: ignore[reportCallIssue] - the inputs are unpacked
    place = torch.arange(sum(lengths))
    row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    distance = place[:, None] - place[None]
    is_seen = (row[:, None] == row[None]) & (distance >= 0) & (distance < window)
    expected = torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=is_seen, scale=0.3, enable_gqa=True)
    for one, other in zip(
        [found, *torch.autograd.grad((found * credit).sum(), inputs)],
        [expected.transpose(1, 2), *torch.autograd.grad((expected.transpose(1, 2) * credit).sum(), inputs)],
        strict=True,
    ):
        assert (one - other).norm() <= 1e-6 * other.norm() + 1e-6


@pytest.mark.parametrize("window", [None, 24])
@pytest.mark.parametrize(("softcap", "has_sinks"), [(2.0, False), (None, True), (2.0, True)])
def test_a_soft_cap_bounds_scores_and_a_sink_takes_its_share(
    window: int | None, softcap: float | None, has_sinks: bool
) -> None:
    lengths = (40, 9, 600, 12)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, sum(lengths), 16, generator=generator) for _ in range(3))
    sinks = torch.tensor([0.5, -1.0]) if has_sinks else None
    inputs = [tensor.requires_grad_() for tensor in (query, key, value, *([] if sinks is None else [sinks]))]
    credit = torch.randn(1, sum(lengths), 2, 16, generator=generator)
    options: dict[str, Any] = {"segments": Segments.of(lengths, credit.device), "softcap": softcap, "s_aux": sinks}
    found, _ = segment_attention(
        torch.nn.Module(), query, key, value, None if window is None else torch.tensor(window), scaling=1.5, **options
    )
    rows = zip(*(tensor.split(list(lengths), dim=2) for tensor in (query, key, value)), strict=True)
    expected = torch.cat([softmax_of_row(*row, window=window, softcap=softcap, sinks=sinks) for row in rows], dim=2)
    assert (found - expected.transpose(1, 2)).norm() <= 1e-6 * expected.norm() + 1e-6
    gradients = torch.autograd.grad((found * credit).sum(), inputs)
    wanted = torch.autograd.grad((expected.transpose(1, 2) * credit).sum(), inputs)
    for one, other in zip(gradients, wanted, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm() + 1e-6


def softmax_of_row(
    query: Tensor, key: Tensor, value: Tensor, *, window: int | None, softcap: float | None, sinks: Tensor | None
) -> Tensor:
    scores = 1.5 * query @ key.transpose(2, 3)
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    distance = torch.arange(query.shape[2])[:, None] - torch.arange(query.shape[2])[None]
    is_seen = (distance >= 0) & (distance < (window or query.shape[2]))
    weights = torch.exp(scores) * is_seen
    total = weights.sum(dim=3, keepdim=True) + (0 if sinks is None else torch.exp(sinks)[None, :, None, None])
    return weights / total @ value


def test_a_row_that_carries_no_weight_changes_nothing(mesh: DeviceMesh, model_dir: Path) -> None:
    learner = LocalLearner(settings_of(model_dir, learner={"micro_batch_tokens": 16}), mesh)
    row, silent = random_rows(seed=7, lengths=(12, 12))
    silent = replace(silent, weights_T=np.zeros_like(silent.weights_T))
    alone = learner.logprobs(batch_of([row]), of=POLICY)
    both = learner.logprobs(batch_of([row, silent]), of=POLICY)
    assert np.array_equal(both[:12], alone)
    assert not both[12:].any()
