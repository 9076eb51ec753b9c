# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
from __future__ import annotations

from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from learner_inputs import (
    AdvantageLoss,
    random_batch,
    relative_distance,
    same_bits,
    save_whole,
    settings_of,
    whole_weights,
)
from learner_ranks import run_on_ranks
from safetensors.torch import load_file
from tiny_models import save_tiny_model
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoModelForCausalLM

from rlpost.errors import ModelError
from rlpost.interfaces import POLICY, REFERENCE
from rlpost.learner.local import LocalLearner
from rlpost.learner.model import trainable_parameters
from rlpost.recipe.sections import LoraConfig
from rlpost.weight_file import checksum_of

LORA = LoraConfig(rank=4, alpha=10)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tied(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory, tied: bool) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("lora") / "model", tied=tied, seed=5, heads=4)


def adapted(model_dir: Path, mesh: DeviceMesh, *, steps: int = 3, lora: LoraConfig = LORA) -> LocalLearner:
    learner = LocalLearner(settings_of(model_dir, lora=lora, optimizer={"learning_rate": 1e-2}), mesh)
    for seed in range(steps):
        learner.step(random_batch(seed=seed), AdvantageLoss())
    return learner


def base_weights(model_dir: Path) -> dict[str, Tensor]:
    return AutoModelForCausalLM.from_pretrained(model_dir).state_dict()


def test_only_the_adapter_trains(model_dir: Path, mesh: DeviceMesh) -> None:
    before, after = (whole_weights(adapted(model_dir, mesh, steps=steps)) for steps in (0, 3))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".lora_" in name}
    # Seven linear layers in each of two decoder layers, with two factors each.
    assert len(changed) == 28
    assert len(trainable_parameters(adapted(model_dir, mesh, steps=0).rank._policy.module)) == 28


def test_a_new_adapter_is_the_base_model(model_dir: Path, mesh: DeviceMesh) -> None:
    batch = random_batch(seed=0)
    adapter = adapted(model_dir, mesh, steps=0).logprobs(batch, of=POLICY)
    assert np.array_equal(adapter, LocalLearner(settings_of(model_dir), mesh).logprobs(batch, of=POLICY))


def test_the_reference_is_the_base_model_and_the_adapter_comes_back(model_dir: Path, mesh: DeviceMesh) -> None:
    learner, batch = adapted(model_dir, mesh), random_batch(seed=0)
    base = LocalLearner(settings_of(model_dir), mesh).logprobs(batch, of=POLICY)
    policy = learner.logprobs(batch, of=POLICY)
    assert np.array_equal(learner.logprobs(batch, of=REFERENCE), base)
    assert np.array_equal(learner.logprobs(batch, of=POLICY), policy)
    assert np.abs(policy - base).max() > 0.01


def test_an_export_equals_what_peft_merges_from_the_adapter_beside_it(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    learner = adapted(model_dir, mesh)
    learner.export(tmp_path / "model")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()

    base = AutoModelForCausalLM.from_pretrained(model_dir)
    onto_base = peft.PeftModel.from_pretrained(base, tmp_path / "model" / "adapter")
    factors = {name: weight for name, weight in onto_base.named_parameters() if ".lora_" in name}
    assert same_bits(factors, {name: weight for name, weight in whole_weights(learner).items() if ".lora_" in name})
    merged = onto_base.merge_and_unload().state_dict()
    assert exported.keys() == merged.keys()
    assert max(float((exported[name] - merged[name]).abs().max()) for name in merged) <= 1e-6
    assert relative_distance(exported, base_weights(model_dir)) > 0.01


def test_published_weights_are_the_merged_ones_under_the_base_names(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    learner = adapted(model_dir, mesh)
    learner.write_weights(tmp_path / "weights.safetensors", version=1)
    learner.export(tmp_path / "model")
    written = load_file(tmp_path / "weights.safetensors")
    assert written.keys() == base_weights(model_dir).keys()
    assert same_bits(written, AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict())


def test_merged_weights_give_the_log_probabilities_of_the_adapter(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    learner, batch = adapted(model_dir, mesh), random_batch(seed=0)
    learner.export(tmp_path / "model")
    merged = LocalLearner(settings_of(tmp_path / "model"), mesh).logprobs(batch, of=POLICY)
    assert np.abs(merged - learner.logprobs(batch, of=POLICY)).max() <= 1e-5


def test_a_checkpoint_holds_the_adapter_only_and_resumes_bit_for_bit(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    learner = adapted(model_dir, mesh, steps=2)
    save_whole(learner, tmp_path / "checkpoint")
    entries = FileSystemReader(tmp_path / "checkpoint").read_metadata().state_dict_metadata
    tensors = {name for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}
    # 28 factors, each with two moments and a step count.
    assert len(tensors) == 4 * 28
    assert all(".lora_" in name for name in tensors)

    resumed = adapted(model_dir, mesh, steps=0)
    resumed.load_checkpoint(tmp_path / "checkpoint")
    for each in (learner, resumed):
        each.step(random_batch(seed=2), AdvantageLoss())
    assert same_bits(whole_weights(resumed), whole_weights(learner))


def test_activation_checkpointing_changes_nothing_under_an_adapter(model_dir: Path, mesh: DeviceMesh) -> None:
    reports = [
        LocalLearner(settings_of(model_dir, lora=LORA, learner={"activation_checkpointing": wanted}), mesh).step(
            random_batch(seed=0), AdvantageLoss()
        )
        for wanted in (False, True)
    ]
    assert reports[0].grad_norm > 0
    assert (reports[1].loss, reports[1].grad_norm) == (reports[0].loss, reports[0].grad_norm)


def test_target_modules_choose_the_layers(model_dir: Path, mesh: DeviceMesh) -> None:
    learner = adapted(model_dir, mesh, steps=0, lora=LoraConfig(rank=2, alpha=2, target_modules=["q_proj"]))
    names = {name for name in whole_weights(learner) if ".lora_" in name}
    assert len(names) == 4
    assert all(".q_proj.lora_" in name for name in names)


@pytest.mark.parametrize("module", ["no_such_layer", "embed_tokens"])
def test_target_modules_that_cannot_be_merged_are_refused(model_dir: Path, mesh: DeviceMesh, module: str) -> None:
    with pytest.raises(ModelError, match=r"lora.target_modules must name linear layers"):
        adapted(model_dir, mesh, steps=0, lora=LoraConfig(rank=2, alpha=2, target_modules=[module]))


def test_an_adapter_on_the_output_head_is_refused_only_where_the_head_is_tied(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path, tied: bool
) -> None:
    lora = LoraConfig(rank=2, alpha=2, target_modules=["lm_head"])
    if tied:
        with pytest.raises(ModelError, match="other than a tied output head; found lm_head"):
            adapted(model_dir, mesh, lora=lora)
        return
    adapted(model_dir, mesh, lora=lora).export(tmp_path / "model")
    head, start = load_file(tmp_path / "model" / "model.safetensors"), base_weights(model_dir)
    assert {name for name in start if not torch.equal(head[name], start[name])} == {"lm_head.weight"}


def trained_and_exported(mesh: DeviceMesh, model_dir: Path, directory: Path) -> tuple[float, dict[str, Tensor]]:
    learner = adapted(model_dir, mesh)
    reference = learner.logprobs(random_batch(seed=0, lengths=(9,)), of=REFERENCE)
    learner.export(directory)
    return float(reference.sum()), whole_weights(learner)


def test_two_ranks_train_and_export_the_adapter_of_one(model_dir: Path, tmp_path: Path) -> None:
    (one_sum, one), (two_sum, two) = (
        run_on_ranks(trained_and_exported, model_dir, tmp_path / str(ranks), ranks=ranks) for ranks in (1, 2)
    )
    assert two_sum == pytest.approx(one_sum, rel=1e-6)
    assert relative_distance(two, one) <= 1e-4
    files = [load_file(tmp_path / ranks / "model.safetensors") for ranks in "12"]
    adapters = [load_file(tmp_path / ranks / "adapter" / "adapter_model.safetensors") for ranks in "12"]
    assert relative_distance(files[1], files[0]) <= 1e-5
    assert relative_distance(adapters[1], adapters[0]) <= 1e-4


def test_an_adapter_published_alone_is_the_policy_on_the_base_model(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    lora = LoraConfig(rank=4, alpha=10, sync="adapter")
    learner = adapted(model_dir, mesh, lora=lora)
    manifest = learner.write_weights(tmp_path / "7.adapter", version=7)
    file = tmp_path / "7.adapter" / "adapter_model.safetensors"
    assert (manifest.kind, manifest.version, manifest.path) == ("adapter", 7, str(tmp_path / "7.adapter"))
    assert (manifest.checksum, manifest.byte_count, manifest.tensor_count) == (
        checksum_of(file),
        file.stat().st_size,
        28,
    )
    loaded = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_dir), tmp_path / "7.adapter")
    merged: dict[str, Tensor] = loaded.merge_and_unload().state_dict()
    learner.export(tmp_path / "model")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    assert relative_distance(merged, exported) <= 1e-6


def test_merged_weights_are_published_unless_the_adapter_is_asked_for(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    manifest = adapted(model_dir, mesh).write_weights(tmp_path / "weights.safetensors", version=1)
    assert manifest.kind == "full"
    assert load_file(manifest.path).keys() == base_weights(model_dir).keys()


def published(mesh: DeviceMesh, model_dir: Path, directory: Path) -> str:
    learner = adapted(model_dir, mesh, steps=1, lora=LoraConfig(rank=4, alpha=10, sync="adapter"))
    return learner.write_weights(directory, version=1).path


def test_two_ranks_publish_the_adapter_of_one(model_dir: Path, tmp_path: Path) -> None:
    folders = [run_on_ranks(published, model_dir, tmp_path / str(ranks), ranks=ranks) for ranks in (1, 2)]
    one, two = (load_file(Path(folder) / "adapter_model.safetensors") for folder in folders)
    assert relative_distance(two, one) <= 1e-4
