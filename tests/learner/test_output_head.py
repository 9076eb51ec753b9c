# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""Log-probabilities without all logits equal those with them, and never hold more than the bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_inputs import AdvantageLoss, gradient_of, random_batch, relative_distance, settings_of, whole_weights
from learner_ranks import run_on_ranks
from tiny_models import BYTE_VOCAB_SIZE, save_tiny_model
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from rlpost.interfaces import POLICY
from rlpost.learner import output_head
from rlpost.learner.local import LocalLearner
from rlpost.learner.output_head import chosen_logprobs
from rlpost.recipe.sections import LoraConfig
from rlpost.records import FloatArray

TOLERANCE = 1e-5
SEVEN_TOKENS = 7 * BYTE_VOCAB_SIZE


@pytest.fixture
def seven_tokens_a_chunk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(output_head, "MOST_LOGITS", SEVEN_TOKENS)
    yield


def direct_logprobs(hidden_KH: Tensor, weight_VH: Tensor, target_K: Tensor, temperature: float) -> Tensor:
    logits_KV = (hidden_KH @ weight_VH.T).float() / temperature
    return logits_KV.log_softmax(dim=1).gather(1, target_K[:, None]).squeeze(1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("tokens_a_chunk", [1, 4, 10, 1000])
def test_chunks_give_the_logprobs_and_gradients_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, temperature: float, tokens_a_chunk: int
) -> None:
    monkeypatch.setattr(output_head, "MOST_LOGITS", tokens_a_chunk * 50)
    generator = torch.Generator().manual_seed(0)
    hidden_KH, weight_VH = (torch.randn(count, 16, generator=generator, dtype=torch.float32) for count in (10, 50))
    target_K = torch.randint(50, (10,), generator=generator)
    credit_K = torch.randn(10, generator=generator)
    results: list[tuple[Tensor, ...]] = []
    for function in (direct_logprobs, lambda *arguments: chosen_logprobs(*arguments[:3], temperature=arguments[3])):
        inputs = [tensor.clone().requires_grad_() for tensor in (hidden_KH, weight_VH)]
        logprobs_K = function(*inputs, target_K, temperature)
        results.append((logprobs_K, *torch.autograd.grad(logprobs_K @ credit_K, inputs)))
    assert results[0][1].abs().max() > 0.1
    for expected, found in zip(*results, strict=True):
        assert (found - expected).abs().max() <= TOLERANCE


class LargestTensor(TorchDispatchMode):
    """Most numbers of any tensor that has a vocabulary's width while the mode is on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.most, self.calls = width, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and tensor.dim() == 2 and tensor.shape[1] == self.width:
                self.most = max(self.most, tensor.numel())
                self.calls += 1
        return result


@pytest.mark.usefixtures("seven_tokens_a_chunk")
def test_no_more_logits_exist_than_the_bound_forward_and_backward() -> None:
    hidden_KH = torch.randn(100, 3, requires_grad=True)
    weight_VH = torch.randn(BYTE_VOCAB_SIZE, 3, requires_grad=True)
    target_K = torch.randint(BYTE_VOCAB_SIZE, (100,))
    with LargestTensor(BYTE_VOCAB_SIZE) as chunked:
        chosen_logprobs(hidden_KH, weight_VH, target_K, temperature=0.7).sum().backward()
    with LargestTensor(BYTE_VOCAB_SIZE) as direct:
        direct_logprobs(hidden_KH, weight_VH, target_K, 0.7).sum().backward()
    assert chunked.most == SEVEN_TOKENS
    assert direct.most == 100 * BYTE_VOCAB_SIZE


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4, alpha=10)], ids=["whole", "adapter"])
@pytest.mark.usefixtures("seven_tokens_a_chunk")
def test_a_learner_in_chunks_learns_what_it_does_with_all_logits(
    mesh: DeviceMesh, tmp_path: Path, tied: bool, lora: LoraConfig | None
) -> None:
    model_dir = save_tiny_model(tmp_path / "model", tied=tied, seed=6, heads=4)
    chunked, direct = (LocalLearner(settings_of(model_dir, lora=lora), mesh) for _ in range(2))
    assert hasattr(chunked.rank._policy.module, "token_logprobs")
    del direct.rank._policy.module.token_logprobs
    batch = random_batch(seed=0, temperature=0.7)
    found, expected = (learner.logprobs(batch, of=POLICY) for learner in (chunked, direct))
    assert np.abs(expected).max() > 1
    assert np.abs(found - expected).max() <= TOLERANCE
    for seed in range(2):
        reports = [learner.step(random_batch(seed=seed), AdvantageLoss()) for learner in (chunked, direct)]
        assert reports[0].grad_norm == pytest.approx(reports[1].grad_norm, rel=TOLERANCE)
    if lora is None:
        gradients = [gradient_of(learner, batch, AdvantageLoss()) for learner in (chunked, direct)]
        assert relative_distance(*gradients) <= TOLERANCE


def logprobs_and_weights(mesh: DeviceMesh, model_dir: Path, most_logits: int) -> tuple[FloatArray, dict[str, Tensor]]:
    usual, output_head.MOST_LOGITS = output_head.MOST_LOGITS, most_logits
    try:
        learner = LocalLearner(settings_of(model_dir, optimizer={"learning_rate": 1e-2}), mesh)
        assert hasattr(learner.rank._policy.module, "token_logprobs")
        for seed, lengths in enumerate([(17, 5, 40, 9), (33,)]):
            learner.step(random_batch(seed=seed, lengths=lengths), AdvantageLoss())
        return learner.logprobs(random_batch(seed=9), of=POLICY), whole_weights(learner)
    finally:
        output_head.MOST_LOGITS = usual


def test_two_ranks_in_chunks_take_the_steps_of_one_with_all_logits(tmp_path: Path) -> None:
    model_dir = save_tiny_model(tmp_path / "model", tied=True, seed=6, heads=4)
    expected, start = run_on_ranks(logprobs_and_weights, model_dir, 2**25, ranks=1)
    found, weights = run_on_ranks(logprobs_and_weights, model_dir, SEVEN_TOKENS, ranks=2)
    assert np.abs(found - expected).max() <= 1e-4
    assert relative_distance(weights, start) <= TOLERANCE


@pytest.mark.parametrize(
    ("family", "changes", "plain"),
    [
        ("qwen3", {}, True),
        ("gemma2", {"final_logit_softcapping": 30.0, "attn_logit_softcapping": None}, False),
        ("cohere", {"logit_scale": 0.5}, False),
        ("granite", {"logits_scaling": 8.0}, False),
        ("phi", {}, False),
    ],
)
def test_a_head_that_does_more_than_multiply_gets_all_logits(
    mesh: DeviceMesh, tmp_path: Path, family: str, changes: dict[str, Any], plain: bool
) -> None:
    shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0, "eos_token_id": 1}
    config = AutoConfig.for_model(family, **shape, **heads, **changes)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    learner = LocalLearner(settings_of(tmp_path), mesh)
    assert hasattr(learner.rank._policy.module, "token_logprobs") is plain
    batch = random_batch(seed=0, lengths=(12, 7))
    batch.token_ids[:] %= 64
    found = learner.logprobs(batch, of=POLICY)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.from_numpy(batch.token_ids[:12]).long()[None]
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1)
    expected = np.where(batch.weights_T[1:12] != 0, logprobs.numpy(), 0)
    assert np.abs(found[1:12] - expected).max() <= TOLERANCE
